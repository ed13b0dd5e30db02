"""Kernels of PyTorch models: find them, record their inputs, and exchange them."""

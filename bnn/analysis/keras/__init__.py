"""Kernels of Keras models: find them, record their inputs, exchange them, and log them during a training."""

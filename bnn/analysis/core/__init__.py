"""Statistics of kernels and their inputs, whatever framework computes them."""

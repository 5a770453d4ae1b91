"""Compiled engines: what trains a model on a CPU with kernels written for it, each with its twin in plain PyTorch."""

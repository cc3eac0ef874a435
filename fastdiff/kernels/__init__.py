"""Kernels written in Python DSLs, one folder each; loaded on first use."""

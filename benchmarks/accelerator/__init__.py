"""A short benchmark of an accelerator: correctness, speed compared with PyTorch, and the fraction of the machine's limits."""

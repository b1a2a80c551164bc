"""What a few minutes on an accelerator should tell: right numbers, speed beside PyTorch, the share of the machine's limit."""

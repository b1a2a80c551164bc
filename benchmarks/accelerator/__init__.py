"""What a short loan of an accelerator is for: right numbers, speed beside PyTorch, the share of the machine's limit."""

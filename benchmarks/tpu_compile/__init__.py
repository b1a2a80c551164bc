"""What XLA's compiler for TPUs makes of the project's programs, found on a machine that has no TPU."""

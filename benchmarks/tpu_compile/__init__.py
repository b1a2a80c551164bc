"""Compilation of the project's programs for TPUs, on a machine without one."""

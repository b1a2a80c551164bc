"""Configurations: default.py, where all fields are put together, and a short file for each experiment."""

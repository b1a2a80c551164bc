"""Configurations: default.py, which assembles all fields, and a short file for each experiment."""

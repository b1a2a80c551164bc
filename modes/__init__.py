"""What `main.py --mode` can do, one file to a mode: each takes a config and a folder and returns its figures."""

"""What `main.py --mode` can do, one file to a mode.

Each has `check(config, sde)`, which refuses before anything is compiled, read or written what cannot work, and
`run(config, sde, workdir)`, which reports figures and returns them; `sde` is the process of the config.
"""

"""What `main.py --mode` can do, one file to a mode.

Each has `check(config, sde)`, which refuses before anything is compiled, read or written what cannot work and gives what it
built that `run` takes too, if anything, and `run(config, sde, workdir, *built)`, which reports figures and returns them; `sde`
is the process of the config. main.py imports only the one that it runs. options.py and drawn_in_training.py, what training draws on
the way, are no modes.
"""

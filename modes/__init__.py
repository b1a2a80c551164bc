"""The modes of `main.py --mode`, one file per mode.

Each has `check(config, sde)` and `run(config, sde, workdir, *built)`, where `sde` is the process of the config. `check` refuses, before
anything is compiled, read or written, what cannot work, and returns whatever it built that `run` can reuse. `run` reports the figures
and returns them. main.py imports only the mode that it runs. options.py, drawn_in_training.py (samples drawn during training),
evaluated_samples.py, kept_rows.py and new_folder.py are helpers, not modes.
"""

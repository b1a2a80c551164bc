"""The project as one package: `from score_sde.sde_lib import VP`, wherever a script lies and whatever is beside it.

The folders `sde_lib`, `models`, `samplers` and so on stand beside this one in a checkout, where people look for them, and
below it where the project is installed. Nothing in them is imported under its bare name, so that a user's own `data.py` or
`models.py` is never taken for ours.
"""

from pathlib import Path

_here = Path(__file__).resolve().parent
if not (_here / "sde_lib").is_dir():
    __path__ = [str(_here), str(_here.parent)]

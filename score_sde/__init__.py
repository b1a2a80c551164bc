"""The project as one package: `from score_sde.sde_lib import VP` works from a script in any folder.

The folders `sde_lib`, `models`, `samplers` and so on are next to this one in a checkout, where people look for them, and
inside it in an installed package. None of them is imported under its bare name, so a user's own `data.py` or `models.py` is
never confused with ours.
"""

from pathlib import Path

_here = Path(__file__).resolve().parent
if not (_here / "sde_lib").is_dir():
    __path__ = [str(_here), str(_here.parent)]

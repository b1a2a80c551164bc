"""--compilation_cache: where compiled programs are kept, so that the next command begins to compute sooner.

A program from there is the one that would be compiled now, to the bit: JAX looks it up by the computation, the options of the compiler,
its own version and the devices, of a CPU with its name and features. The folder's name says the same of the machine once more, since
a home may be shared by machines whose instructions differ.

Whoever can write to the folder decides what runs here. It is made for its user alone, whatever the umask; one that its user has opened
to a group is used, as meant for that, and one that another user owns or everybody may write to is not.
"""

from __future__ import annotations

import hashlib
import os
import platform
import stat
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

from score_sde.errors import UserError
from score_sde.files import user_path
from score_sde.kept_programs import KeptPrograms

OFF = "off"
MAX_BYTES = 2**30  # of all programs; a program of a CIFAR-10 network takes one to some ten MB
FOLDER = "JAX_COMPILATION_CACHE_DIR"  # JAX's variable, which here is the default of the flag
CPU_INFO = Path("/proc/cpuinfo")  # of Linux
# What tells processors apart; clock rates and the like change.
CPU_FIELDS = (
    "vendor_id", "cpu family", "model", "model name", "stepping", "flags",
    "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features",
)  # fmt: skip


def check_cache(asked: str | None) -> None:
    """Raises UserError of a value that can be no folder."""
    if asked == "":
        raise UserError(
            f"--compilation_cache is empty: give a folder, or {OFF}, or leave it out for the folder in your cache"
        )


def keep_programs(asked: str | None, environ: Mapping[str, str] = os.environ) -> None:
    """Have JAX keep what it compiles, before it has compiled anything.

    Args:
      asked: a folder, "off", or None for $JAX_COMPILATION_CACHE_DIR, and unless that is set for the user's cache.
    """
    import jax

    if asked == OFF:
        jax.config.update("jax_enable_compilation_cache", False)
        return
    place = asked or environ.get(FOLDER)
    if place and "://" in place:  # not of this machine: JAX knows how to write there
        jax.config.update("jax_compilation_cache_dir", place)
        return
    root = user_path(place) if place else users_cache(environ)
    folder = root / machine()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        refused = refusal(folder)
    except OSError as error:
        refused = error.strerror or str(error)
    if refused:
        _say(
            f"compiled programs are not kept in {folder} ({refused}); --compilation_cache={OFF} says so, =DIR names another folder"
        )
        jax.config.update("jax_enable_compilation_cache", False)
        return
    _use(folder, environ)


def _use(folder: Path, environ: Mapping[str, str]) -> None:
    """Give JAX the folder, with what the user has not set set for it."""
    import jax
    from jax._src import compilation_cache

    limit = jax.config.values["jax_compilation_cache_max_size"]
    kept = KeptPrograms(folder, MAX_BYTES if limit < 0 else limit, _say)
    compilation_cache.get_file_cache = lambda path: (kept, path)  # type: ignore[assignment, return-value]
    jax.config.update("jax_compilation_cache_dir", str(folder))
    unless_set = {
        # Reading the smallest program takes a tenth of the time of compiling it.
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        # XLA's own caches on GPUs: files that nobody bounds, whose folder's name becomes a part of every program's key.
        "jax_persistent_cache_enable_xla_caches": "none",
    }
    for name, value in unless_set.items():
        if name.upper() not in environ:
            jax.config.update(name, value)
    # Of what cannot be loaded KeptPrograms says a line.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")


def _say(message: str) -> None:
    from score_sde.progress import say  # and with it JAX

    say(message)


def users_cache(environ: Mapping[str, str]) -> Path:
    """A folder in the user's cache (XDG Base Directory Specification: a relative $XDG_CACHE_HOME does not count)."""
    named = Path(environ.get("XDG_CACHE_HOME", ""))
    return (named if named.is_absolute() else user_path("~/.cache")) / "score_sde" / "xla"


def refusal(folder: Path) -> str:
    """Why programs in a folder had better not be run; empty if they may."""
    found = folder.stat()
    if found.st_uid not in (os.geteuid(), 0):
        return "it belongs to another user, whose programs would be run"
    if found.st_mode & stat.S_IWOTH:
        return "everybody may write to it, whose programs would be run"
    return ""


def machine() -> str:
    """A name of this kind of machine, and of what compiles on it."""
    import jax
    import jaxlib

    try:
        cpu = processor(CPU_INFO.read_text(errors="replace"))
    except OSError:
        cpu = platform.processor()
    # Python's version decides how JAX compresses.
    parts = [jax.__version__, jaxlib.__version__, *sys.version_info[:2], platform.system(), cpu]
    return (
        f"{platform.machine() or 'machine'}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"
    )


def processor(cpu_info: str) -> str:
    """What Linux says of the first processor, without what changes."""
    first = cpu_info.partition("\n\n")[0]
    lines = [line for line in first.splitlines() if line.partition(":")[0].strip() in CPU_FIELDS]
    return "\n".join(lines)

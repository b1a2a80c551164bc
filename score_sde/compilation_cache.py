"""--compilation_cache: the folder for compiled programs, which lets later commands start computing sooner.

A cached program is bit for bit the one that would be compiled: JAX looks it up by the computation, the compiler options, its own
version and the devices, for a CPU including name and features. The name of the folder identifies the machine as well, since a home
directory may be shared by machines with different instruction sets.

Anyone who can write to the folder can make us run code. It is created with access for its user only, whatever the umask. A folder
that its user has opened to a group is used, as that is taken to be intended; one owned by another user or writable by everybody is not.
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
# For all programs together; one program of a CIFAR-10 network takes 1 to about 10 MB.
MAX_BYTES = 2**30
FOLDER = "JAX_COMPILATION_CACHE_DIR"  # JAX's variable, here the default of the flag
CPU_INFO = Path("/proc/cpuinfo")  # on Linux
# The fields that identify a processor; others, such as clock rates, vary.
CPU_FIELDS = (
    "vendor_id", "cpu family", "model", "model name", "stepping", "flags",
    "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features",
)  # fmt: skip


def check_cache(asked: str | None) -> None:
    """Refuse an empty --compilation_cache by a UserError."""
    if asked == "":
        raise UserError(
            f"--compilation_cache is empty: give a folder, or {OFF}, or leave it out for the folder in your cache"
        )


def keep_programs(asked: str | None, environ: Mapping[str, str] = os.environ) -> None:
    """Enable the persistent compilation cache of JAX; call this before anything is compiled.

    Args:
      asked: a folder, "off", or None for $JAX_COMPILATION_CACHE_DIR or, if that is unset, the user's cache.
    """
    import jax

    if asked == OFF:
        jax.config.update("jax_enable_compilation_cache", False)
        return
    place = asked or environ.get(FOLDER)
    if place and "://" in place:  # remote storage, which JAX handles itself
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
    """Set the folder in JAX, with suitable values for related options that the user has not set."""
    import jax
    from jax._src import compilation_cache

    limit = jax.config.values["jax_compilation_cache_max_size"]
    kept = KeptPrograms(folder, MAX_BYTES if limit < 0 else limit, _say)
    compilation_cache.get_file_cache = lambda path: (kept, path)  # type: ignore[assignment, return-value]
    jax.config.update("jax_compilation_cache_dir", str(folder))
    unless_set = {
        # Reading even the smallest program takes a tenth of the time of compiling it.
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        # XLA's own caches on GPUs grow without bound, and the name of their folder would become part of every program's key.
        "jax_persistent_cache_enable_xla_caches": "none",
    }
    for name, value in unless_set.items():
        if name.upper() not in environ:
            jax.config.update(name, value)
    # KeptPrograms reports programs that cannot be loaded.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")


def _say(message: str) -> None:
    from score_sde.progress import say  # which imports JAX

    say(message)


def users_cache(environ: Mapping[str, str]) -> Path:
    """A folder in the user's cache (XDG Base Directory Specification: a relative $XDG_CACHE_HOME is ignored)."""
    named = Path(environ.get("XDG_CACHE_HOME", ""))
    return (named if named.is_absolute() else user_path("~/.cache")) / "score_sde" / "xla"


def refusal(folder: Path) -> str:
    """Why programs in a folder must not be trusted; empty if they may be run."""
    found = folder.stat()
    if found.st_uid not in (os.geteuid(), 0):
        return "it belongs to another user, whose programs would be run"
    if found.st_mode & stat.S_IWOTH:
        return "everybody may write to it, whose programs would be run"
    return ""


def machine() -> str:
    """A name for this type of machine and the versions of the compiler on it."""
    import jax
    import jaxlib

    try:
        cpu = processor(CPU_INFO.read_text(errors="replace"))
    except OSError:
        cpu = platform.processor()
    # The compression that JAX uses depends on the version of Python.
    parts = [jax.__version__, jaxlib.__version__, *sys.version_info[:2], platform.system(), cpu]
    return (
        f"{platform.machine() or 'machine'}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"
    )


def processor(cpu_info: str) -> str:
    """The CPU_FIELDS of the first processor in /proc/cpuinfo."""
    first = cpu_info.partition("\n\n")[0]
    lines = [line for line in first.splitlines() if line.partition(":")[0].strip() in CPU_FIELDS]
    return "\n".join(lines)

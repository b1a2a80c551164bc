"""Mistakes in what is kept of compiled programs."""

from tests.mutants.mutant import mutants

KEPT = "tests/test_kept_programs.py"
CACHE = "tests/test_compilation_cache.py"

# fmt: off
COMPILATION_CACHE = [
    *mutants("score_sde/kept_programs.py", KEPT,
        ("damaged-programs-run", "if found != digest(key, value):", "if len(found) < DIGEST:"),
        ("programs-under-any-name", "key=hashlib.sha256(key.encode()).digest()", 'key=b""'),
        ("damaged-programs-stay", "                path.unlink()\n            return None", "                path.stat()\n            return None"),
        ("the-first-that-was-put-goes", "os.utime(path)", "path.stat()"),
        ("the-last-that-was-used-goes", "key=lambda entry: entry[0]", "key=lambda entry: -entry[0]"),
        ("programs-of-other-versions-stay", "self._path.parent.glob(f\"*/*{SUFFIX}*\")", "self._path.glob(f\"*{SUFFIX}*\")"),
        ("a-full-disk-ends-the-run", "except OSError as error:", "except FileNotFoundError as error:"),
        ("a-full-disk-is-said-for-every-program", "self.writes = False", "self.writes = True"),
        ("what-cannot-be-loaded-is-offered", "self.reads = False", "self.reads = True"),
        ("what-others-removed-cannot-be-loaded", "        self.given.discard(key)\n", ""),
        ("written-in-its-place", "partial = path.with_name", "partial = path if path.exists() else path.with_name"),
    ),
    *mutants("score_sde/compilation_cache.py", CACHE,
        ("programs-of-another-user", "found.st_uid not in (os.geteuid(), 0)", "found.st_uid < 0"),
        ("programs-of-everybody", "found.st_mode & stat.S_IWOTH", "found.st_mode & stat.S_ISVTX"),
        ("one-folder-for-all-machines", "platform.system(), cpu]", "platform.system()]"),
        ("another-folder-at-another-clock-rate", '"vendor_id", "cpu family"', '"cpu MHz", "vendor_id", "cpu family"'),
        ("off-but-for-the-environment", "if asked == OFF:", "if asked == OFF and FOLDER not in environ:"),
        ("a-cache-in-the-current-folder", "named if named.is_absolute() else", "named if named.name else"),
        ("jax-warns-of-every-program", 'warnings.filterwarnings("ignore", ', 'warnings.filterwarnings("default", '),
    ),
]

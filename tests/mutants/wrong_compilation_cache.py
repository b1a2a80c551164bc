"""Mistakes in what is kept of compiled programs."""

from tests.mutants.mutant import mutants

KEPT = "tests/test_kept_programs.py"
CACHE = " ".join(
    f"tests/test_compilation_cache.py::test_{name}"
    for name in (
        "a_folder_that_will_not_do_is_said_in_a_line",
        "a_folder_is_its_users_unless_they_open_it_to_a_group",
        "a_machine_of_other_instructions_has_another_folder",
        "off_is_off_whatever_the_environment_says",
        "the_cache_of_a_user_without_variables",
        "programs_that_jax_cannot_load",
    )
)

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
        ("programs-of-a-group-are-everybodys", "found.st_mode & stat.S_IWOTH", "found.st_mode & (stat.S_IWOTH | stat.S_IWGRP)"),
        ("folder-by-the-umask", "exist_ok=True, mode=0o700", "exist_ok=True"),
        ("one-folder-for-all-machines", "platform.system(), cpu]", "platform.system()]"),
        ("another-folder-at-another-clock-rate", '"vendor_id", "cpu family"', '"cpu MHz", "vendor_id", "cpu family"'),
        ("off-but-for-the-environment", "if asked == OFF:", "if asked == OFF and FOLDER not in environ:"),
        ("a-cache-in-the-current-folder", "named if named.is_absolute() else", "named if named.name else"),
        ("jax-warns-of-every-program", 'warnings.filterwarnings("ignore", ', 'warnings.filterwarnings("default", '),
    ),
]

"""Mistakes in what answers bad input: bounds that do not hold, quotes that are not escaped, places that are not looked at."""

from tests.mutants.mutant import mutants

BOUNDS = "tests/foreign_weights/test_bounds.py"
CONFIG_FILE = "tests/test_config_file.py"
NPZ = "tests/test_npz.py"
HOSTS = "tests/test_hosts.py"
PROGRESS = "tests/test_progress_lines.py"
RECORD = "tests/training/test_record.py"
HOSTILE = "tests/hostile/test_hostile.py::test_damaged_files_are_read_or_refused"

# fmt: off
WORDS = [
    *mutants("foreign_weights/pickle_machine.py", BOUNDS,
        ("pickles-of-any-depth", "        check_bounds(value)\n", ""),
        ("pickles-of-any-length", "if count > MAX_INSTRUCTIONS:", "if False:"),
        ("pickles-that-contain-themselves", "if any(id(part) in begun and id(part) not in measured for part in inside):", "if False:"),
        ("laughs-counted-once", "count = 1 + sum(count for _, count in sizes)", "count = 1 + len(sizes)"),
    ),
    *mutants("foreign_weights/checkpoint_file.py", BOUNDS,
        ("quoted-as-it-is", "raise UserError(printable(str(error))) from error", "raise"),
    ),
    *mutants("score_sde/quoting.py", BOUNDS,
        ("quoted-at-any-length", "kept = text[:longest]", "kept = text"),
        ("controls-not-escaped", "if not kept.isprintable():", "if False:"),
    ),
    *mutants("score_sde/config_file.py", CONFIG_FILE,
        ("the-first-line-of-a-file", "lines[-1]", "lines[0] - 1"),
        ("any-get-config-will-do", "if not isinstance(config, ConfigDict):", "if config is None:"),
    ),
    *mutants("score_sde/command_line.py", CONFIG_FILE,
        ("a-trained-folder-is-not-looked-at", "if workdir is None or not (workdir / RECORDED).exists():", "if True:"),
        ("results-beside-the-trained-folder", "workdir = recorded if trained else", "workdir ="),
    ),
    *mutants("score_sde/files.py", CONFIG_FILE,
        ("no-home", "return Path(os.path.expanduser(text))", "return Path(text)"),
    ),
    *mutants("score_sde/npz.py", NPZ,
        ("claims-believed", "                check_claim(archive, members[name])\n", "                pass\n"),
        ("larger-than-the-memory", "if claimed > memory_bytes():", "if False:"),
    ),
    *mutants("score_sde/hosts.py", HOSTS,
        ("hosts-waited-for-until-xla-aborts", "    timer.start()\n", ""),
        ("the-environment-not-asked", "self.coordinator_address or address", "self.coordinator_address"),
    ),
    *mutants("score_sde/output.py", PROGRESS,
        ("a-bar-over-itself-in-a-file", "super().write(text.strip() + \"\\n\")", "super().write(text)"),
    ),
    *mutants("training/progress.py", PROGRESS,
        ("a-line-in-every-log", "if self.bar.disable and (first or self.step == self.num_steps):", "if self.bar.disable:"),
        ("compiles-in-silence", "        self.say(\"compiling the update ...\")\n", ""),
    ),
    *mutants("score_sde/files.py", f"{RECORD}::test_damaged_lines_are_left_out_and_their_neighbours_are_not",
        ("json-of-any-depth", "except RecursionError as error:", "except KeyError as error:"),
    ),
    *mutants("score_sde/unfinished.py", HOSTILE,
        ("damaged-batches-read", "except Exception as error:  # which errors damaged bytes raise is undocumented", "except KeyError as error:"),
    ),
]
# fmt: on

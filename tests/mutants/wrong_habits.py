"""Mistakes in what the command line says of itself and guesses, in the list of runs, and in what programs read of it."""

from tests.mutants.mutant import mutants

HELP = "tests/test_help.py"
NEAREST = "tests/test_nearest.py"
RUNS = "tests/modes/test_list_runs.py"
JSON = "tests/test_json_output.py"
TAB = "tests/test_completion.py"

# fmt: off
HABITS = [
    *mutants("score_sde/nearest.py", NEAREST,
        ("guesses-at-anything", "ALIKE = 0.6", "ALIKE = 0.0"),
        ("names-of-other-sections-last", "        if ending:\n", "        if False:\n"),
        ("case-counts", 'return name.lower().replace("-", "_")', "return name"),
        ("beginnings-not-looked-at", "return table[min(longer, key=len)] if longer else None", "return None"),
    ),
    *mutants("score_sde/nearest.py", f"{NEAREST}::test_the_preferred_section_comes_first",
        ("no-section-preferred", 'name.rpartition(".")[0] != prefer', '0'),
    ),
    *mutants("score_sde/guesses.py", "tests/test_command_line.py::test_fields_of_another_sampler_are_named",
        ("unread-fields-of-the-sampler-itself", 'others - {f"sampling.{own}"}', "others"),
    ),
    *mutants("score_sde/help.py", HELP,
        ("wider-than-the-screen", "    return line if len(line) <= most else", "    return line if most else"),
        ("the-oldest-run-next", "sorted(found, reverse=True)", "sorted(found)"),
    ),
    *mutants("score_sde/help.py", HELP,
        ("help-of-no-mode", "found = value if equals else following", "found = value if equals else None"),
    ),
    *mutants("main.py", "tests/test_cpu_devices.py::test_the_flag_reaches_jax",
        ("devices-of-a-cpu-that-nobody-makes", "    split_cpu(options.cpu_devices)\n", ""),
    ),
    *mutants("score_sde/cpu_devices.py", "tests/test_cpu_devices.py",
        ("one-device-whatever-is-asked", 'jax.config.update("jax_num_cpu_devices", count)', "pass"),
        ("no-devices-are-some", "not 1 <= count <= MOST", "not 0 <= count <= MOST"),
        ("devices-of-a-cpu-beside-a-gpu", 'if jax.default_backend() != "cpu":', "if False:"),
    ),
    *mutants("modes/list_runs.py", RUNS,
        ("oldest-first", "key=lambda run: -run.changed", "key=lambda run: run.changed"),
        ("newest-step-by-its-letters", "return max(steps)", "return int(max(map(str, steps)))"),
        ("the-loss-of-training", '"eval_loss"),', '"loss"),'),
        ("bits-of-any-mode", 'if row.get("mode") == "likelihood" and found is not None:', "if found is not None:"),
        ("the-bound-before-the-ode", 'LAWS = ("ode", "bound")', 'LAWS = ("bound", "ode")'),
        ("controls-of-names-shown", "printable(text, 2 * WIDEST)", "text"),
    ),
    *mutants("reports/lines.py", RUNS,
        ("the-first-line-first", "for line in reversed(lines):", "for line in lines:"),
    ),
    *mutants("score_sde/json_output.py", JSON,
        ("figures-on-stdout-too", "with contextlib.redirect_stdout(sys.stderr):", "with contextlib.nullcontext():"),
        ("an-object-after-a-mistake", "    if first_host():\n        print", "        print"),
    ),
    *mutants("score_sde/results.py", JSON,
        ("nan-in-a-list", "if isinstance(value, list | tuple):", "if False:"),
    ),
    *mutants("score_sde/completion.py", TAB,
        ("cuts-of-bash-forgotten", "if [[ $COMP_WORDBREAKS == *=* && $cur == *=* ]]", "if false"),
        ("python-not-given-back", "if [[ ${script##*/} != main.py || $at -lt 2 ]]", "if false"),
        ("all-fields-at-once", "line=${line%\"$rest\"}${rest%%.*}.", ":"),
    ),
    *mutants("training/recorded_config.py", "tests/training/test_recorded_config.py",
        ("the-version-of-the-last-start", "made_by() if earlier is None else earlier.get(MADE_BY)", "made_by()"),
    ),
    *mutants("quality/statistics_files.py", "tests/quality/test_statistics_files.py",
        ("features-of-another-version-made-again", '("images_sha256", MADE_BY, CLASSES)', '("images_sha256", CLASSES)'),
    ),
]

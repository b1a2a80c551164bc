"""Mistakes in what is written, in what is said when a run ends, and in what it goes on from."""

from tests.mutants.mutant import mutants

FILES = "tests/test_files.py"
ALONE = "tests/training/test_left_alone.py"
UNSEEN = f"{ALONE}::test_weights_whose_loss_nobody_has_seen_are_not_saved"
NO_UPDATE = f"{ALONE}::test_an_error_of_what_is_no_update_loses_none"
CHECKPOINTS = "tests/training/test_checkpoints.py"
RECORD = "tests/training/test_record.py"
CONFIG = "tests/training/test_recorded_config.py"

# fmt: off
ENDINGS = [
    *mutants("score_sde/files.py", FILES,
        ("written-in-place", "open(partial, \"wb\")", "open(path, \"wb\")"),
        ("half-a-file-left", "            partial.unlink(missing_ok=True)", "            pass"),
        ("half-a-line-left", "                    os.ftruncate(file, size)\n", "                    pass\n"),
        ("line-behind-half-a-line", "data = ends + data", "data = data"),
    ),
    *mutants("score_sde/results.py", FILES,
        ("printed-then-recorded", "    try:\n        append_line(workdir / \"results.jsonl\", line)\n    finally:\n        show(text or listed(figures))", "    print(text or listed(figures), flush=True)\n    append_line(workdir / \"results.jsonl\", line)"),
    ),
    *mutants("main.py", FILES,
        ("interrupted-runs-succeed", "return 128 + signal.Signals[stopped_by] if stopped_by else 0", "return 0"),
    ),
    *mutants("training/loop.py", UNSEEN,
        ("saved-unseen", "            self.check_state()\n", ""),
        ("saved-though-the-next-loss-is-not-finite", "if not is_finite(first):", "if False:"),
        ("saved-though-not-finite", "if not np.all(np.isfinite(leaf)):", "if False:"),
    ),
    *mutants("training/loop.py", f"{ALONE}::test_a_disk_without_room_ends_the_run_and_one_with_room_goes_on",
        ("looked-at-by-an-update-that-stays", "self.state = jax.device_put(copy, self.devices.replicated())", "self.state, _ = self.train_step(jax.device_put(copy, self.devices.replicated()), *self.last)"),
    ),
    *mutants("training/loop.py", NO_UPDATE,
        ("updates-lost-with-the-data", "if self.last is not None and jax.process_count() == 1:", "if False:"),
    ),
    *mutants("training/loop.py", f"{ALONE}::test_a_loss_says_of_how_many_updates_it_is_the_mean",
        ("updates-not-counted", "updates = len(self.losses)", "updates = self.plan.log_freq"),
    ),
    *mutants("training/loop.py", f"{ALONE}::test_a_step_that_is_passed_is_no_place_to_end",
        ("ended-before-the-beginning", "if step > plan.n_iters:", "if step > 10 * plan.n_iters:"),
    ),
    *mutants("training/loop.py", f"{ALONE}::test_a_second_run_in_the_folder_is_told_of_the_first",
        ("two-runs-in-a-folder", "        alone_in(folder),\n", ""),
    ),
    *mutants("training/interrupts.py", f"{ALONE}::test_a_signal_is_answered_within_a_call",
        ("answered-after-the-call", "signal.set_wakeup_fd(self.pipe, warn_on_full_buffer=False)", "signal.set_wakeup_fd(-1)"),
    ),
    *mutants("training/checkpoints.py", f"{CHECKPOINTS}::test_whatever_happens_to_a_file_no_other_weights_are_read",
        ("checksums-not-written", "                write_manifest(folder)\n", "                pass\n"),
    ),
    *mutants("training/manifest.py", f"{CHECKPOINTS}::test_whatever_happens_to_a_file_no_other_weights_are_read",
        ("checksums-not-compared", "if digest(folder / name) != expected:", "if False:"),
    ),
    *mutants("training/checkpoints.py", f"{CHECKPOINTS}::test_a_damaged_one_that_is_asked_for_is_refused",
        ("another-step-than-asked-for", "return [step] if step else steps[::-1]", "return steps[::-1]"),
    ),
    *mutants("training/checkpoints.py", f"{CHECKPOINTS}::test_training_makes_the_damaged_steps_again",
        ("damaged-steps-stay", "newer = [saved for saved in saved_steps(self.folder) if saved > step]", "newer: list[int] = []"),
    ),
    *mutants("training/checkpoints.py", f"{ALONE}::test_a_disk_without_room_ends_the_run_and_one_with_room_goes_on",
        ("failed-saves-in-many-lines", "({first_line(error)}); \"", "({error!r}\\n); \""),
    ),
    *mutants("training/record.py", RECORD,
        ("damaged-lines-kept", "if found is not None and found <= step", "if found is None or found <= step"),
        ("damaged-lines-lost", "write_whole(path.with_name(f\"{path.name}.damaged\"), data)", "pass"),
    ),
    *mutants("training/recorded_config.py", CONFIG,
        ("another-run-goes-on", "workdir, {Role.WEIGHTS, Role.RUN})", "workdir, {Role.WEIGHTS})"),
        ("changes-forgotten", "changes = [*earlier.get(CHANGES, []), *changes]", "changes = [*changes]"),
        ("record-of-the-first-config", "{**given, CHANGES: changes}", "{**earlier, CHANGES: changes}"),
        ("record-of-no-checkpoint-kept", "recorded(workdir) if step is not None else None", "recorded(workdir)"),
    ),
]
# fmt: on

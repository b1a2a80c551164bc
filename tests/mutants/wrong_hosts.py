"""Mistakes with several hosts: how they begin, and how they end."""

from tests.mutants.mutant import mutants

HOSTS_TESTS = "tests/test_hosts.py"
TWO = "tests/test_two_processes.py"
GPUS = "tests/test_local_gpus.py"
SAME = "tests/training/test_same_data.py"
IN_USE = f"{SAME}::test_what_uses_images_refuses_others_too"
CHECKPOINTS = "tests/training/test_checkpoints.py"

# fmt: off
HOSTS = [
    *mutants("score_sde/hosts.py", HOSTS_TESTS,
        ("every-failure-is-no-cluster", "        if said.endswith(NOT_FOUND):\n", "        if True:\n"),
    ),
    *mutants("score_sde/hosts.py", f"{TWO}::test_a_signal_ends_processes_that_have_nothing_to_save",
        ("signals-noted-and-never-asked-for", "    end_at_sigterm()\n", ""),
    ),
    *mutants("training/interrupts.py", f"{TWO}::test_a_signal_to_one_host_is_told_to_both_while_they_train",
        ("signal-to-one-host-kills-it", "self.noting = note_sigterm() or self.noting", "pass"),
        ("signals-noted-after-training", "            end_at_sigterm()\n", ""),
    ),
    *mutants("score_sde/hosts.py", f"{TWO}::test_a_host_that_finds_a_mistake_ends_alone_and_the_others_are_told",
        ("mistakes-wait-for-the-others", "        started(GRACE, lambda: os._exit(status))\n", ""),
    ),
    *mutants("main.py", f"{TWO}::test_a_host_that_finds_a_mistake_ends_alone_and_the_others_are_told",
        ("mistakes-known-to-one-host", "    return end_alone(2)\n", "    return 2\n"),
    ),
    *mutants("score_sde/hosts.py", f"{TWO}::test_hosts_that_find_the_same_mistake_end_together",
        ("mistakes-end-the-coordinator-first", "        started(GRACE, lambda: os._exit(status))\n", "        os._exit(status)\n"),
    ),
    *mutants("main.py", f"{TWO}::test_the_others_wait_for_what_only_the_first_host_does",
        ("first-host-left-alone-at-work", "        all_hosts_meet(\"the end\")\n", ""),
    ),
    *mutants("main.py", f"{TWO}::test_a_folder_that_the_hosts_do_not_share_is_refused_on_all",
        ("folders-of-each-host", "        check_same_folder(options.workdir)\n", ""),
    ),
    *mutants("score_sde/same_folder.py", f"{TWO}::test_a_folder_that_the_hosts_do_not_share_is_refused_on_all",
        ("folder-that-one-host-lacks", "unseen = on_any_host(unseen)", "unseen = unseen"),
    ),
    *mutants("score_sde/same_folder.py", f"{TWO}::test_a_folder_that_the_hosts_share_is_left_as_it_is",
        ("token-left-in-the-folder", "            file.unlink(missing_ok=True)\n", "            pass\n"),
    ),
    *mutants("score_sde/hosts.py", f"{TWO}::test_hosts_with_different_numbers_of_devices_are_refused",
        ("hosts-of-any-number-of-devices", "if len({*of_hosts.values()}) > 1:", "if False:"),
    ),
    *mutants("score_sde/local_gpus.py", GPUS,
        ("gpus-of-other-hosts-counted", " == host))", " != 0))"),
        ("devices-that-are-no-gpus", "if re.fullmatch(r\"nvidia\\d+\", path.name)", "if path"),
    ),
    *mutants("training/same_data.py", f"{SAME}::test_other_arrays_are_refused",
        ("arrays-of-any-shape", "(array.shape, array.dtype.str)", "array.dtype.str"),
        ("only-the-first-array-compared", "digest.update(np.ascontiguousarray(array).tobytes())", "digest = hashlib.sha256(np.ascontiguousarray(array).tobytes())"),
    ),
    *mutants("restoration/observed.py", IN_USE,
        ("restored-images-of-any-hosts", "    check_same_arrays(f\"restore.images={config.restore.images!r}\", (stored, labels, texts))\n", ""),
        ("measurements-of-any-hosts", "    check_same_arrays(what, (y, observed.labels, observed.texts))\n", ""),
    ),
    *mutants("generation/start_images.py", IN_USE,
        ("begun-from-any-hosts-images", "    check_same_arrays(f\"sampling.start_images={name!r}\", (array,))\n", ""),
    ),
    *mutants("modes/interpolate.py", IN_USE,
        ("interpolated-between-any-hosts-images", "    check_same_data(datasets)\n", ""),
    ),
    *mutants("quality/image_sets.py", IN_USE,
        ("conditioned-on-any-hosts-images", "        check_same_data(datasets)\n", ""),
    ),
    *mutants("devices/batches.py", "tests/test_machine.py::test_a_batch_over_all_hosts_may_fill_the_devices_of_all",
        ("global-batch-in-one-hosts-memory", "jax.process_count() * memory_of_devices()", "memory_of_devices()"),
    ),
    *mutants("training/checkpoints.py", f"{CHECKPOINTS}::test_no_host_moves_damaged_steps_before_all_have_listed_them",
        ("moved-before-all-have-listed-them", "        all_hosts_meet(\"newer checkpoints\")  # before the first moves what another has yet to list\n", ""),
    ),
]
# fmt: on

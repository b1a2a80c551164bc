"""Mistakes in what a file or an unfinished folder is known by: what is out of date is then taken for new."""

from tests.mutants.mutant import mutants

DRAWS = "tests/modes/test_resumed_draws.py"
CHECKPOINTS = '        "checkpoints": newest_file(checkpoint_folder(workdir)),\n'
AVERAGES = '        "averages": newest_file(averages_folder(workdir)),\n'
ADAPTERS = '        "adapter_files": ages_of_adapters(config),\n'

# fmt: off
RESUMING = [
    *mutants("modes/sample.py", DRAWS,
        ("samples-of-retrained-weights", CHECKPOINTS, ""),
        ("samples-of-retrained-averages", AVERAGES, ""),
        ("samples-of-a-retrained-adapter", ADAPTERS, ""),
        ("samples-of-another-seed", 'for part in ("seed", "sde", "data", "model", "condition", "sampling")', 'for part in ("sde", "data", "model", "condition", "sampling")'),
        ("samples-of-another-condition", 'for part in ("seed", "sde", "data", "model", "condition", "sampling")', 'for part in ("seed", "sde", "data", "model", "sampling")'),
    ),
    *mutants("modes/restore.py", DRAWS,
        ("draws-of-retrained-weights", CHECKPOINTS, ""),
        ("draws-of-retrained-averages", AVERAGES, ""),
        ("draws-of-a-retrained-adapter", ADAPTERS, ""),
        ("draws-of-another-mask", '        "mask": changed(measured_section(config).mask),\n', ""),
        ("draws-of-another-seed", 'for part in ("seed", "sde", "data", "model", "condition", "sampling", "restore")', 'for part in ("sde", "data", "model", "condition", "sampling", "restore")'),
    ),
    *mutants("modes/likelihood.py", "tests/modes/test_likelihood_record.py::test_weights_trained_again_to_the_same_step_are_others",
        ("likelihood-of-retrained-averages", AVERAGES, ""),
    ),
    *mutants("modes/tradeoff.py", "tests/modes/test_tradeoff.py::test_another_reference_file_of_the_same_name_makes_other_rows",
        ("rows-beside-another-reference", 'for name in ("reference", "features")', 'for name in ("features",)'),
    ),
    *mutants("features/classifier.py", "tests/features/test_classifier_features.py::test_other_images_in_files_of_the_same_names_and_sizes_train_another",
        ("classifier-of-earlier-contents", "        hash_of_some(splits.train),\n", ""),
    ),
    *mutants("quality/statistics_files.py", "tests/quality/test_statistics_files.py::test_what_is_of_something_else_is_made_anew",
        ("features-of-other-files", '"files": splits.fingerprint.hash', '"files": ""'),
    ),
    *mutants("generation/denoising_errors.py", "tests/generation/test_denoising_errors.py::test_a_file_is_of_its_weights_images_and_noise_levels",
        ("errors-in-other-units", '        "data": settings["data"],\n', ""),
        ("errors-under-another-condition", '        "condition": settings["condition"],\n', ""),
    ),
]
# fmt: on

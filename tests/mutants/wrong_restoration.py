"""Mistakes with restored images, and with what they are said to be worth."""

from tests.mutants.mutant import mutants

MODE = "tests/modes/test_restore.py"
SIMILARITY = "tests/evaluation/test_similarity.py"
UNIFORMITY = "tests/evaluation/test_uniformity.py"
CALIBRATION = "tests/evaluation/test_calibration.py"

# fmt: off
RESTORATION = [
    *mutants("evaluation/similarity.py", SIMILARITY,
        ("ssim-with-a-wider-window", "RADIUS, STD = 5, 1.5", "RADIUS, STD = 5, 1.6"),
        ("ssim-without-contrast", "(2 * of_x * of_y + C1) * (2 * together + C2)", "(2 * of_x * of_y + C1) * (together + C2)"),
        ("psnr-of-the-amplitude", "-10.0 * np.log10", "-20.0 * np.log10"),
    ),
    *mutants("evaluation/uniformity.py", UNIFORMITY,
        ("ranks-expected-among-the-draws", "share = np.arange(1, num_draws + 1)[:, None] / (num_draws + 1)", "share = np.arange(1, num_draws + 1)[:, None] / (num_draws + 2)"),
        ("one-sided-uniformity", "2.0 * np.minimum(below, above)", "2.0 * below"),
        ("band-of-a-point", "within = table >= simulated[max(0, int((1 - confidence) * (SIMULATED + 1) - 1))]", "within = table >= 1 - confidence"),
    ),
    *mutants("evaluation/calibration.py", CALIBRATION,
        ("ties-count-as-above", "below + rng.integers(0, ties + 1)", "below"),
        ("tarp-around-the-origin", "np.square(x - reference).sum(axis=1)", "np.square(x).sum(axis=1)"),
        ("projections-of-any-length", "directions /= np.linalg.norm(directions, axis=1, keepdims=True)", "pass"),
    ),
    *mutants("modes/restore.py", f"{MODE}::test_a_gradient_through_the_model_stays_bounded {MODE}::test_what_reads_the_measurement_stands_outside_the_threshold",
        ("gradient-through-the-threshold", "    if jacobian_products_of(score):\n", "    if False:\n"),
        ("threshold-outside-of-what-a-sampler-reads", "    if jacobian_products_of(score):\n", "    if True:\n"),
    ),
    *mutants("modes/restore.py", f"{MODE}::test_when_an_image_is_determined {MODE}::test_what_is_determined_has_no_ranks",
        ("ranks-of-rounding", "return bool((linear.singular_values > 0).all())", "return False"),
        ("determined-with-modes-unseen", "return bool((linear.singular_values > 0).all())", "return True"),
        ("determined-but-for-its-place-in-a-level", "if measurement.std > 0 or within_levels or", "if measurement.std > 0 or"),
    ),
    *mutants("measurements/configured.py", f"{MODE}::test_what_cannot_be_restored_is_refused",
        ("fields-of-any-measurement", "if name not in own and options[name] != defaults[name]:", "if False:"),
    ),
    *mutants("restoration/draws.py", f"{MODE}::test_draws_are_the_posteriors",
        ("draws-of-another-image", "which = np.minimum(indices // draws, n - 1)", "which = np.minimum(indices % n, n - 1)"),
    ),
    *mutants("restoration/draws.py", f"{MODE}::test_texts_of_captions",
        ("draws-without-their-texts", "condition = observed.condition(which)", "condition = {}"),
    ),
    *mutants("restoration/draws.py", f"{MODE}::test_methods_of_every_kind",
        ("measured-put-in-twice", "return x + linear.pseudo_inverse(r)", "return x - linear.pseudo_inverse(r)"),
    ),
    *mutants("restoration/observed.py", f"{MODE}::test_another_seed_is_another_measurement",
        ("one-noise-for-all-batches", "np.arange(i, min(i + size, len(stored)))", "np.arange(len(stored[i : i + size]))"),
        ("one-noise-for-all-seeds", "key = stream_key(config.seed, Stream.OBSERVATION)", "key = stream_key(0, Stream.OBSERVATION)"),
    ),
    *mutants("restoration/figures.py", f"{MODE}::test_calibration_is_told_of_all_figures_together",
        ("the-best-of-many-figures", "min(1.0, len(p_values) * p_values[worst])", "p_values[worst]"),
    ),
    *mutants("measurements/masks.py", "tests/measurements/test_masks_and_kernels.py::test_known_frequencies",
        ("any-frequencies", "rest = np.random.default_rng(seed).permutation(by_length[first:])", "rest = by_length[first:]"),
    ),
]

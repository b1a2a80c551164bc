"""Mistakes with images that a network is told, and with cascades."""

from tests.mutants.mutant import mutants

TOLD = "tests/measurements/test_condition_image.py"
LOSS = "tests/training/test_condition_images.py"
NETWORKS = "tests/models/test_image_networks.py"
SAMPLES = "tests/generation/test_told_images.py"
RESTORED = "tests/modes/test_restore_trained.py"

# fmt: off
TOLD_IMAGES = [
    *mutants("measurements/condition_image.py", f"{TOLD}::test_noise_is_brought_back_by_the_ridge",
        ("ridge-by-the-deviation", "linear.regularized(y, jnp.square(self._std), 1.0)", "linear.regularized(y, self._std, 1.0)"),
    ),
    *mutants("measurements/condition_image.py", f"{TOLD}::test_augmentation_is_told_and_adds_to_the_noise",
        ("noises-added-as-deviations", "std = jnp.hypot(levels, self._std)", "std = (levels + self._std)"),
        ("levels-of-the-batch", "lambda key: jax.random.uniform(key, maxval=self.most_noise))(keys.level)", "lambda key: jax.random.uniform(keys.level[0], maxval=self.most_noise))(keys.level)"),
    ),
    *mutants("measurements/condition_image.py", f"{TOLD}::test_means_of_pixels_are_taken_up_again",
        ("told-by-the-edge-of-a-level", "self.measurement.linear(self.space.encode_middle(images))", "self.measurement.linear(self.space.encode_with(images, jnp.zeros(images.shape)))"),
    ),
    *mutants("measurements/condition_image.py", f"{TOLD}::test_a_pair_is_told_as_it_is",
        ("shades-on-0-1", "return scale(beside.astype(jnp.float32) / 255, self.centered)", "return beside.astype(jnp.float32) / 255"),
    ),
    *mutants("measurements/condition_image.py", f"{TOLD}::test_what_is_told_is_the_images_own",
        ("noise-of-the-place-alone", "return image_keys(ConditionKeys, jax.random.fold_in(key, int(Stream.OBSERVATION)), index)", "return image_keys(ConditionKeys, jax.random.key(0), index)"),
    ),
    *mutants("training/objective.py", f"{LOSS}::test_a_flipped_image_is_told_flipped",
        ("told-before-the-flip", "condition = self.told(images, condition, step_key, places)", "condition = self.told(batch.images, condition, step_key, places)"),
        ("pair-not-flipped", "condition = {**condition, \"paired\": flipped(condition[\"paired\"], keys)}", "pass"),
    ),
    *mutants("models/network.py", f"{NETWORKS}::test_without_the_weights_of_the_image_it_is_the_network_that_is_told_none[dit]",
        ("image-not-concatenated", "image = condition[\"image\"] if condition else nothing", "image = nothing"),
    ),
    *mutants("models/network.py", f"{NETWORKS}::test_the_noise_of_the_image_is_told[dit]",
        ("noise-in-units-of-the-data", "labels = (LABELS * std / self.condition_noise)", "labels = (LABELS * std)"),
    ),
    *mutants("models/conditions.py", f"{NETWORKS}::test_without_the_weights_of_the_image_it_is_the_network_that_is_told_none[dit]",
        ("no-image-is-grey", "nothing = {\"label\": num_classes, \"image\": 0.0,", "nothing = {\"label\": num_classes, \"image\": 0.5,"),
    ),
    *mutants("generation/cascade.py", f"{SAMPLES}::test_a_cascade_of_exact_networks_draws_the_data",
        ("stages-of-one-noise", "stream_key(config.seed, Stream.CASCADE)", "jax.random.key(config.seed)"),
    ),
    *mutants("generation/cascade.py", f"{SAMPLES}::test_the_small_images_do_not_depend_on_batches",
        ("small-images-of-a-batch", "x = generator.draw(model, key, filled.astype(np.int32), size, bar).x[: len(part)]", "x = generator.draw(model, key, np.arange(size, dtype=np.int32), size, bar).x[: len(part)]"),
    ),
    *mutants("generation/told_images.py", f"{SAMPLES}::test_images_of_splits_and_files_in_turn",
        ("always-the-first-image", "rows = indices % len(given().images)", "rows = 0 * indices"),
    ),
    *mutants("generation/told_images.py", f"{SAMPLES}::test_an_image_has_its_own_class_unless_another_is_named",
        ("classes-in-turn-beside-images", "{**dict(condition), **beside}", "{**beside, **dict(condition)}"),
    ),
    *mutants("restoration/draws.py", f"{RESTORED}::test_draws_are_the_posteriors",
        ("told-of-another-image", "tell(observed.y[which], told, key, indices)", "tell(observed.y[which[::-1]], told, key, indices)"),
    ),
    *mutants("likelihood/per_image.py", f"{RESTORED}::test_likelihoods_are_given_what_is_told",
        ("likelihood-told-nothing", "            condition = image.in_use(images, condition, key, batch.index)\n        model", "            condition = ()\n        model"),
    ),
    *mutants("restoration/methods.py", "tests/modes/test_restore.py::test_methods_of_every_kind",
        ("one-particle", "TDS(problem.sde, options.particles)", "TDS(problem.sde, 1)"),
        ("ode-of-five-steps", "DAPS(problem.sde, ode_steps=options.ode_steps)", "DAPS(problem.sde)"),
        ("prior-of-twenty-steps", "PnPDM(problem.sde, options.coupling, options.prior_steps)", "PnPDM(problem.sde, options.coupling)"),
    ),
    *mutants("modes/restore.py", "tests/modes/test_restore.py::test_methods_of_every_kind",
        ("products-of-the-score-alone", "calls * jacobian_products_of(score) + own_products(configured)", "calls * jacobian_products_of(score)"),
    ),
]
# fmt: on

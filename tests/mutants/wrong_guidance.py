"""Mistakes with conditions: what an image is told, and the guidance made of it."""

from tests.mutants.mutant import mutants

GUIDED = "tests/guidance/test_classifier_free.py"
COMBINED = "tests/guidance/test_combinations.py"
REWARD = "tests/guidance/test_reward.py"
BOUND = "tests/models/test_bound_conditions.py"
CLASSES = "tests/models/test_class_networks.py"
DROPOUT = "tests/training/test_label_dropout.py"

# fmt: off
GUIDANCE = [
    *mutants("guidance/combinations.py", f"{GUIDED}::test_variance_under_the_ode",
        ("guided-away-from-the-class", "toward + self.weight * (toward - away)", "toward - self.weight * (toward - away)"),
        ("guidance-scale-for-weight", "toward + self.weight * (toward - away)", "away + self.weight * (toward - away)"),
        ("guidance-weight-on-one-term", "toward + self.weight * (toward - away)", "(1.0 + self.weight) * toward - away"),
    ),
    *mutants("guidance/classifier_free.py", f"{GUIDED}::test_variance_under_the_ode",
        ("guidance-with-halves-swapped", "asked = (x, t, self.model.condition), (x, t, self.model.unconditional.condition)", "asked = (x, t, self.model.unconditional.condition), (x, t, self.model.condition)"),
        ("no-class-asked-with-its-class", "return self.model.unconditional(x, t)", "return self.model(x, t)"),
    ),
    *mutants("guidance/combinations.py", COMBINED,
        ("interval-of-the-other-times", "jnp.where(inside, self.inner(x, t, toward, away), toward)", "jnp.where(inside, toward, self.inner(x, t, toward, away))"),
        ("no-guidance-outside-is-no-class", "self.inner(x, t, toward, away), toward)", "self.inner(x, t, toward, away), away)"),
        ("contrast-of-the-bad-score", "for score in (guided, toward))", "for score in (guided, away))"),
        ("rescaled-the-other-way", "contrast(kept) / contrast(image)", "contrast(image) / contrast(kept)"),
        ("rescaled-by-the-whole-share", "self.share * (ratio - 1.0) * image", "self.share * ratio * image"),
        ("apg-along-what-is-left", "self.weight * (d - (1.0 - self.eta) * parallel)", "self.weight * (d - self.eta * parallel)"),
        ("apg-projected-on-the-difference", "parallel = dot(d, image)", "parallel = dot(d, d)"),
        ("apg-longer-where-it-is-short", "jnp.maximum(dot(d, d), self.norm**2)", "dot(d, d)"),
        ("apg-of-scores", "d = jnp.square(sigma) / alpha * (toward - away)", "d = toward - away"),
        ("apg-divided-by-nothing", "jnp.where(length > 0, length, 1.0)", "length"),
        ("plus-plus-of-the-step-before", "jnp.diff(grid, append=jnp.inf)", "jnp.diff(grid, prepend=-jnp.inf)"),
        ("plus-plus-of-the-log-snr", "-jnp.expm1(-0.5 * growth)", "-jnp.expm1(-growth)"),
        ("plus-plus-on-the-class", "away + expand(weight, x) * (toward - away)", "toward + expand(weight, x) * (toward - away)"),
    ),
    *mutants("guidance/reward.py", REWARD,
        ("reward-of-the-noisy-image", "self.reward(denoise(self.sde, score, x, t))", "self.reward(x)"),
        ("reward-without-the-jacobian", "self.reward(denoise(self.sde, score, x, t))", "self.reward(denoise(self.sde, jax.lax.stop_gradient(score), x, t))"),
        ("reward-as-a-cost", "score + self.scale * gradient", "score - self.scale * gradient"),
        ("reward-of-another-function-each-time", "reward if isinstance(reward, partial) else partial(reward)", "partial(reward)"),
    ),
    *mutants("generation/guided.py", f"{COMBINED}::test_what_the_config_builds",
        ("rescaled-outside-the-interval", "combine = Within(combine, sde, guidance.log_snr_low, guidance.log_snr_high)", "combine = Within(Extrapolated(guidance.weight), sde, guidance.log_snr_low, guidance.log_snr_high)"),
    ),
    *mutants("guidance/classifier_free.py", f"{GUIDED}::test_evaluations_are_of_the_model_inside",
        ("guidance-for-the-cost-of-one", "2 * evaluations_of(self.model)", "evaluations_of(self.model)"),
    ),
    *mutants("generation/drivers.py", f"{GUIDED}::test_generated_images_count_both_evaluations",
        ("calls-of-a-whole-batch-for-evaluations", "jnp.asarray(samples.nfe + more) * evaluations_of(model)", "jnp.asarray(samples.nfe + more)"),
        ("calls-of-steps-for-evaluations", "(sampler.nfe(num_steps) + more) * evaluations_of(model)", "(sampler.nfe(num_steps) + more)"),
    ),
    *mutants("likelihood/per_image.py", "tests/likelihood/test_per_image.py::test_evaluations_are_of_the_network",
        ("calls-of-a-likelihood-for-evaluations", 'values["nfe"] * evaluations_of(model)', 'values["nfe"]'),
    ),
    *mutants("models/score.py", BOUND,
        ("images-alone-share-their-conditions", "return function(bind(score, condition), *one)", "return function(score, *one)"),
        ("one-by-one-with-all-conditions", "return bind(self.model, condition)(x, t)[0]", "return self.model(x, t)[0]"),
    ),
    *mutants("models/conditions.py", CLASSES,
        ("no-class-is-the-first", "else jnp.full(b, num_classes)", "else jnp.zeros(b, jnp.int32)"),
        ("null-condition-is-the-last-class", 'jnp.full_like(given["label"], num_classes)', 'jnp.full_like(given["label"], num_classes - 1)'),
    ),
    *mutants("models/embeddings.py", CLASSES,
        ("labels-count-from-the-end", "jnp.where(labels < 0, table.shape[0], labels)", "labels"),
        ("labels-clamped", 'mode="fill", fill_value=jnp.nan', 'mode="clip"'),
    ),
    *mutants("training/objective.py", DROPOUT,
        ("labels-kept-at-the-rate", "jnp.where(of_image, none, given)", "jnp.where(of_image, given, none)"),
        ("labels-dropped-together", "jax.vmap(lambda key: jax.random.bernoulli(key, rate))(keys)", "jax.vmap(lambda key: jax.random.bernoulli(keys[0], rate))(keys)"),
        ("labels-told-to-nobody", "NetworkScore(params, self.apply, self.parameterization, batch.condition)", "NetworkScore(params, self.apply, self.parameterization)"),
    ),
    *mutants("score_sde/keys.py", "tests/training/test_label_dropout.py",
        ("labels-dropped-by-the-dropout-key", "dropout: Array\n    label_dropout: Array", "label_dropout: Array\n    dropout: Array"),
    ),
]
# fmt: on

"""Mistakes with conditions: what an image is told, and the guidance made of it."""

from tests.mutants.mutant import mutants

GUIDED = "tests/guidance/test_classifier_free.py"
BOUND = "tests/models/test_bound_conditions.py"
CLASSES = "tests/models/test_class_networks.py"
DROPOUT = "tests/training/test_label_dropout.py"

# fmt: off
GUIDANCE = [
    *mutants("guidance/classifier_free.py", f"{GUIDED}::test_variance_under_the_ode",
        ("guided-away-from-the-class", "conditional + self.weight * (conditional - unconditional)", "conditional - self.weight * (conditional - unconditional)"),
        ("guidance-scale-for-weight", "conditional + self.weight * (conditional - unconditional)", "unconditional + self.weight * (conditional - unconditional)"),
        ("guidance-weight-on-one-term", "conditional + self.weight * (conditional - unconditional)", "(1.0 + self.weight) * conditional - unconditional"),
        ("guidance-with-halves-swapped", "asked = (x, t, self.model.condition), (x, t, self.model.unconditional.condition)", "asked = (x, t, self.model.unconditional.condition), (x, t, self.model.condition)"),
        ("no-class-asked-with-its-class", "return self.model.unconditional(x, t)", "return self.model(x, t)"),
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

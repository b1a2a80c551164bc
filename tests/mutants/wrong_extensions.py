"""Mistakes that let a user's own process, score model or arrays make wrong numbers without a word."""

from tests.mutants.mutant import mutants

FLOAT64 = "tests/samplers/test_float64.py"
COVARIANCES = "tests/models/test_covariances.py"

# fmt: off
EXTENSIONS = [
    *mutants("configs/default.py", "tests/configs/test_default.py::test_no_extension_replaces_the_defaults_of_others",
        ("defaults-of-the-last-section", "if key in values and values[key] != default:", "if False:"),
    ),
    *mutants("models/score.py", "tests/samplers/test_score_shapes.py",
        ("scores-broadcast-to-the-images", "    check_shape(\"the score\", value.shape, x.shape)\n", ""),
        ("scores-broadcast-by-a-wrapper", "return self.changed(x, t, score_at(self.model, x, t))", "return self.changed(x, t, self.model(x, t))"),
    ),
    *mutants("samplers/record.py", FLOAT64,
        ("steps-in-the-default-dtype", "        grid = jnp.asarray(grid, time_dtype(like.dtype))\n", ""),
    ),
    *mutants("likelihood/log_density.py", FLOAT64,
        ("flow-in-the-default-dtype", "jnp.asarray([eps, sde.T], time_dtype(x.dtype))", "jnp.asarray([eps, sde.T])"),
    ),
    *mutants("models/covariances.py", COVARIANCES,
        ("matrices-symmetrised", "    check_symmetric(covariance)\n", ""),
        ("negative-variances-cut-off", "    check_not_negative(eigenvalues)\n", ""),
        ("rounding-taken-for-a-mistake", "values[..., 0] >= -ROUNDING * values[..., -1]", "values[..., 0] >= 0"),
        ("mixture-of-more-than-one", "abs(values.sum() - 1.0) <= ROUNDING", "values.sum() > 0"),
    ),
    *mutants("likelihood/log_density.py", "tests/likelihood/test_log_density.py::test_impossible_requests_are_refused",
        ("density-at-any-time", '    sde.check_time("eps", eps)\n', ""),
        ("fewer-keys-than-images", "    check_keys(keys.shape[:1], x)\n", ""),
    ),
]
# fmt: on

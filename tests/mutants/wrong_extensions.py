"""Mistakes that let a user's own process, score model or arrays make wrong numbers without a word."""

from tests.mutants.mutant import mutants

# fmt: off
EXTENSIONS = [
    *mutants("configs/default.py", "tests/configs/test_default.py::test_no_extension_replaces_the_defaults_of_others",
        ("defaults-of-the-last-section", "if key in values and values[key] != default:", "if False:"),
    ),
    *mutants("models/score.py", "tests/samplers/test_score_shapes.py",
        ("scores-broadcast-to-the-images", "    check_shape(\"the score\", value.shape, x.shape)\n", ""),
        ("scores-broadcast-by-a-wrapper", "return self.changed(x, t, score_at(self.model, x, t))", "return self.changed(x, t, self.model(x, t))"),
    ),
]
# fmt: on

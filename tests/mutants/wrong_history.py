"""Mistakes in times that are drawn by past losses."""

from tests.mutants.mutant import mutants

HISTORY = "tests/training/test_loss_history.py"

# fmt: off
HISTORIES = [
    *mutants("training/loss_history.py", HISTORY,
        ("mean-loss-for-root-mean-square", "jnp.sqrt(jnp.mean(jnp.square(self.losses), axis=1))", "jnp.mean(self.losses, axis=1)"),
        ("uniform-share-not-taken-off", "p = (1 - uniform) * share", "p = share"),
        ("drawn-by-losses-before-all-are-known", "return jnp.where(self.is_full, p, 1 / self.cells)", "return p"),
        ("weight-is-the-probability", "return (1 / (self.cells * self.probabilities()))", "return (self.cells * self.probabilities())"),
        ("one-loss-of-a-cell-in-a-batch", "number = jnp.arange(len(cell)) - first", "number = 0 * first"),
        ("first-of-too-many-are-kept", "number >= new[cell] - self.kept", "number < self.kept"),
        ("forgets-that-it-is-full", "self.kept + counts % self.kept", "counts % self.kept"),
        ("drawn-from-the-cell-before", "begin = jnp.where(cell > 0, ends[cell - 1], 0.0)", "begin = ends[cell - 1]"),
    ),
    *mutants("training/objective.py", HISTORY,
        ("remembers-weighted-losses", "self.history.added(u, losses / self.history.weight(u))", "self.history.added(u, losses)"),
        ("loss-not-weighted-by-drawn-times", "return losses * self.history.weight(u) if self.history else losses", "return losses"),
    ),
    *mutants("training/step.py", HISTORY,
        ("history-left-behind", "opt_state, averages, history)", "opt_state, averages, state.history)"),
    ),
    *mutants("training/state.py", HISTORY,
        ("checkpoint-without-history", 'if name not in ("averages", "history") or jax.tree.leaves(part)', 'if name not in ("averages", "history")'),
    ),
]
# fmt: on

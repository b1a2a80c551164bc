"""UniPC: a multistep predictor, and a corrector that costs nothing (Zhao et al. 2023).

The prediction made at the end of a step serves twice: first it corrects that step, as one more point of the
polynomial under its integral (UniC), then it begins the next step (UniP). It is not made again at the corrected
x_hat. So a step costs one evaluation, as without the corrector, and the last step goes uncorrected.

The order is the number of predictions p for UniP-p and p + 1 for UniPC-p. With two points the published
coefficients depend on the function B(h), which is the rule `bh1` or `bh2` here; with more they do not. Authors'
choices: data prediction, B(h) = h for unconditional sampling and exp(h) - 1 for guided. Their code lowers the order
in the last steps, which these solvers do not: they do not know the end of the grid.
"""

from __future__ import annotations

from typing import NamedTuple

from score_sde.samplers.exponential.multistep import DATA, History, Multistep, Rule, itself
from score_sde.shapes import Images, Scalar


class Uncorrected(NamedTuple):
    """The last p predictions, and the corrected x_hat and lambda from which the last step went."""

    history: History
    x: Images
    start: Scalar


class UniPC(Multistep):
    """The predictor is that of `Multistep`; the corrector its integral over the step before, with the new point.

    The x_hat that a step gives back are uncorrected, also along a path.
    """

    def begin(self, x: Images, start: Scalar) -> Uncorrected:
        # before the first step was one of length 0, which the corrector leaves as it is
        return Uncorrected(History.none(self.points, start, x), x, start)

    def move(
        self, x: Images, start: Scalar, end: Scalar, new: Images, memory: Uncorrected
    ) -> tuple[Images, Uncorrected]:
        history = memory.history.add(self.variable(start), new)
        corrected = self.advance(memory.x, memory.start, start, history)
        latest = history.latest(self.points)
        return self.advance(corrected, start, end, latest), Uncorrected(latest, corrected, start)


def unip(points: int, rule: Rule) -> Multistep:
    """UniP-p on data predictions: the predictor alone, of order p; with `bh2` and p = 2 it is DPM-Solver++(2M)."""
    return Multistep(DATA, points, itself, rule)


def unipc(points: int, rule: Rule) -> UniPC:
    """UniPC-p on data predictions, of order p + 1."""
    return UniPC(DATA, points, itself, rule)

"""UniPC: a multistep predictor, and a corrector at no extra cost (Zhao et al. 2023).

The prediction made at the end of a step is used twice: first it corrects that step, as one more point of the polynomial in
its integral (UniC), then it begins the next step (UniP). It is not recomputed at the corrected x_hat. A step therefore costs
one evaluation, as without the corrector, and the last step remains uncorrected.

The order is p for UniP-p, where p is the number of predictions, and p + 1 for UniPC-p. With two points the published
coefficients depend on the function B(h), which is the rule `bh1` or `bh2` here; with more they do not. The authors' choices
are data prediction, B(h) = h for unconditional sampling and exp(h) - 1 with guidance. Their code lowers the order in the
last steps; these solvers do not, since they do not know the end of the grid.
"""

from __future__ import annotations

from typing import NamedTuple

from score_sde.samplers.exponential.multistep import DATA, History, Multistep, Rule, itself
from score_sde.shapes import Images, Scalar


class Uncorrected(NamedTuple):
    """The last p predictions, and the corrected x_hat and lambda from which the last step started."""

    history: History
    x: Images
    start: Scalar


class UniPC(Multistep):
    """The predictor of `Multistep`, with a corrector: the same integral over the previous step, with the new point.

    The x_hat that a step returns is uncorrected, also along a path.
    """

    def begin(self, x: Images, start: Scalar) -> Uncorrected:
        # as if a step of length 0 preceded the first, which the corrector leaves unchanged
        return Uncorrected(History.none(self.points, start, x), x, start)

    def move(
        self, x: Images, start: Scalar, end: Scalar, new: Images, memory: Uncorrected
    ) -> tuple[Images, Uncorrected]:
        history = memory.history.add(self.variable(start), new)
        corrected = self.advance(memory.x, memory.start, start, history)
        latest = history.latest(self.points)
        return self.advance(corrected, start, end, latest), Uncorrected(latest, corrected, start)


def unip(points: int, rule: Rule) -> Multistep:
    """UniP-p with data prediction: the predictor alone, of order p; with `bh2` and p = 2 it is DPM-Solver++(2M)."""
    return Multistep(DATA, points, itself, rule)


def unipc(points: int, rule: Rule) -> UniPC:
    """UniPC-p with data prediction, of order p + 1."""
    return UniPC(DATA, points, itself, rule)

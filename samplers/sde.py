"""The reverse SDE and its variants with other amounts of noise, solved by diffrax along a grid or with adaptive steps.

    dx = [f x - (1 + h^2)/2 g^2 score] dt + h g dw,    t from T down to eps

has the marginals of the forward process for every h >= 0 (Song et al. 2021, Eq. 6 and App. D.1; Zhang and Chen 2023, Eq. 5):
h = 1 is the time reversal, h = 0 the probability-flow ODE, which samplers/ode.py solves better. The noise is additive, since
g depends on t alone, so the Ito and Stratonovich solutions coincide, and methods for additive noise gain an order from the
space-time Levy area of the Brownian path (samplers/brownian.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import flax.struct
import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.models.score import ScoreModel, score_at
from score_sde.options import choose
from score_sde.samplers.adaptive import Adaptive, Solution, own_steps, solve_along
from score_sde.samplers.brownian import RESOLUTION, GridPath, ImageTrees, ScalarNoise
from score_sde.samplers.noise import Noise
from score_sde.samplers.ode import solve_each
from score_sde.samplers.predictors import batch_times
from score_sde.samplers.record import Sampler, Samples
from score_sde.sde_lib import SDE
from score_sde.shapes import Images, Index, Points, Scalar


class SDESolver(NamedTuple):
    """A diffrax solver for SDEs."""

    make: Callable[[], diffrax.AbstractSolver]
    evaluations: int
    """Evaluations of the score model per attempted step."""
    estimates_error: bool
    """Whether it estimates its error, as adaptive steps require."""


SDE_SOLVERS: dict[str, SDESolver] = {
    "euler": SDESolver(diffrax.Euler, 1, False),
    "heun": SDESolver(diffrax.Heun, 2, True),
    "sea": SDESolver(diffrax.SEA, 1, False),
    "sra1": SDESolver(diffrax.SRA1, 2, True),
    "shark": SDESolver(diffrax.ShARK, 2, True),
}
MAX_REJECTIONS = 100  # in a row; more are a failure


@flax.struct.dataclass
class NoNoise:
    """Zero noise, for the ODE."""

    def __call__(self, step: Index, slot: Index, like: Images) -> Images:
        return jnp.zeros_like(like)


@dataclasses.dataclass(frozen=True)
class ReverseSDE(Sampler):
    """Samples with the solver of this name in `SDE_SOLVERS`, along a grid or, with `adaptive`, with step sizes of its own.

    Cost: the solver's evaluations per step, including rejected ones.

    Raises:
      ConfigError: an unknown solver, h < 0, or adaptive steps for a solver without an error estimate.
    """

    sde: SDE
    solver: str = "shark"
    h: float = 1.0
    adaptive: Adaptive | None = None

    def __post_init__(self):
        choose("sampling.sde.solver", self.solver, SDE_SOLVERS)
        if not 0 <= self.h < float("inf"):
            raise ConfigError(
                f"h={self.h}: expected h >= 0; 1 is the reverse SDE, 0 the ODE without noise"
            )
        if self.adaptive is not None:
            able = [name for name, solver in SDE_SOLVERS.items() if solver.estimates_error]
            self.adaptive.check(self.solver, able)

    def sample(
        self, score: ScoreModel, grid: Points, noise: Noise, x: Images, keep_path: bool
    ) -> Samples:
        """See Sampler.sample. With `keep_path`, adaptive steps also stop at the times in between.

        Adaptive steps require `IndexedNoise`, whose keys give each image a Brownian path that can be evaluated on any
        interval.
        """
        s = -jnp.asarray(grid, x.dtype)  # increases, as samplers/brownian.py requires
        noise = noise if self.h else NoNoise()

        def solve(score: ScoreModel, x: Images, noise: Noise) -> Solution:
            return self._solve(score, s, noise, x, keep_path)

        each_image = self.adaptive is not None and self.adaptive.each_image
        solution = solve_each(solve, score, x, noise) if each_image else solve(score, x, noise)
        return Samples(solution.y, solution.nfe, solution.path, solution.success)

    def _terms(self, path: diffrax.AbstractBrownianPath) -> diffrax.MultiTerm:
        """Drift and noise in s = -t, with the score model as diffrax's args."""

        def drift(s: Any, x: Images, score: ScoreModel) -> Images:
            t = batch_times(x, -s)
            return -self.sde.reverse_drift(x, t, score_at(score, x, t), self.h)

        def diffusion(s: Any, x: Images, score: ScoreModel) -> Scalar:
            return self.sde.reverse_diffusion(-s, self.h)

        return diffrax.MultiTerm(diffrax.ODETerm(drift), ScalarNoise(diffusion, path))

    def _solve(
        self, score: ScoreModel, s: Points, noise: Noise, x: Images, keep_path: bool
    ) -> Solution:
        solver, length = SDE_SOLVERS[self.solver], s[-1] - s[0]
        path: diffrax.AbstractBrownianPath = GridPath(s, noise, x)
        steps: dict[str, Any] = {}
        if self.adaptive is not None:
            path = self._any_times(noise, s, x)
            controller = diffrax.ClipStepSizeController(
                diffrax.PIDController(
                    rtol=self.adaptive.rtol,
                    atol=self.adaptive.atol,
                    pcoeff=0.1,
                    icoeff=0.3,
                    dtmin=RESOLUTION * length,
                ),
                step_ts=s if keep_path else None,
                # The end of a rejected step remains a time of the path: what was seen of it has influenced the steps.
                store_rejected_steps=MAX_REJECTIONS,
            )
            steps = own_steps(length, controller)
        terms = self._terms(path)
        return solve_along(
            s, terms, solver.make(), x, score, keep_path, solver.evaluations, **steps
        )

    def _any_times(self, noise: Noise, s: Points, x: Images) -> diffrax.AbstractBrownianPath:
        """A Brownian path that adaptive steps can evaluate on any interval."""
        if self.h == 0:
            return GridPath(s, noise, x)
        keys = getattr(noise, "keys", None)
        if keys is None:
            raise ValueError(
                f"noise {type(noise).__name__} with adaptive steps, which need the Brownian path between any two "
                "times: expected IndexedNoise, or use the steps of a grid"
            )
        return ImageTrees(keys, s[0], s[-1], x)

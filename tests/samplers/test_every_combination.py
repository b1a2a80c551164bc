"""Every combination of sampler, process and grid runs or is refused with a reason."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.toy_mixture import get_config
from score_sde.samplers import names
from score_sde.samplers.configured import IN_TIME, OPTIMAL, SAMPLERS, configure
from score_sde.samplers.correctors import CORRECTORS
from score_sde.samplers.exponential.methods import EXPONENTIAL
from score_sde.samplers.fixed_steps import FIXED_SOLVERS
from score_sde.samplers.grids import GRIDS
from score_sde.samplers.noise import IndexedNoise
from score_sde.samplers.optimal_variance import OptimalVariance
from score_sde.samplers.predictors import PREDICTORS
from score_sde.samplers.sde import SDE_SOLVERS
from score_sde.sde_lib import SDE, VE, VP, Linear, SubVP
from tests.fast_cases import fast_where, product_where
from tests.samplers.mixture_flow import mixture

EPS, STEPS, SHAPE = 1e-3, 12, (3, 2, 2, 1)
ERRORS = OptimalVariance((EPS, 0.3, 0.99), (0.9, 0.5, 0.01))


@dataclasses.dataclass(frozen=True)
class Cosine(SDE):
    """A process that a user states by alpha and sigma alone."""

    T = 0.99

    def alpha(self, t):
        return jnp.cos(jnp.pi / 2 * t)

    def sigma(self, t):
        return jnp.sin(jnp.pi / 2 * t)


# The one that has derived forms only in every run of the tests, those that all other tests use in the slow ones.
PROCESSES = [Cosine(), Linear(), VE(0.01, 20.0), VP(), SubVP()]


def sampling(sampler, **changes):
    """config.sampling of 12 steps; a change is a field with its group, as pc__corrector."""
    config = get_config()
    options = config.sampling
    options.update(sampler=sampler, eps=EPS)
    options.grid.candidates = 30
    for group in ("pc", "ode", "sde", "exponential", "edm"):
        options[group].num_steps = STEPS
    options.ode.steps = "grid"
    options.pc.corrector = "none"
    for name, value in changes.items():
        group, _, field = name.rpartition("__")
        (options[group] if group else options)[field] = value
    return options


WAYS = {
    **{f"pc {p}": sampling("pc", pc__predictor=p) for p in [*PREDICTORS, OPTIMAL] if p != "none"},
    **{f"pc {c}": sampling("pc", pc__corrector=c) for c in CORRECTORS if c != "none"},
    "annealed Langevin": sampling("pc", pc__predictor="none", pc__corrector="ald"),
    **{f"ode {solver}": sampling("ode", ode__solver=solver) for solver in FIXED_SOLVERS},
    "ode in sigma/alpha": sampling("ode", ode__solver="heun", ode__variable="ratio"),
    "ode in its logarithm": sampling("ode", ode__solver="heun", ode__variable="log_ratio"),
    **{f"sde {solver}": sampling("sde", sde__solver=solver) for solver in SDE_SOLVERS},
    "sde half the noise": sampling("sde", sde__h=0.5),
    "edm": sampling("edm"),
    "edm churn": sampling("edm", edm__s_churn=4.0),
    **{name: sampling(name) for name in EXPONENTIAL},
    **{
        f"{name} eta": sampling(name, exponential__eta=0.7)
        for name, method in EXPONENTIAL.items()
        if method.with_noise
    },
}


# One of each kind that `configure` makes, and of each family of methods: the others differ by an entry of a table, whose
# laws and orders have tests of their own.
FAST_WAYS = [
    "pc reverse_diffusion", f"pc {OPTIMAL}", "pc langevin", "ode heun", "ode in sigma/alpha",
    "sde half the noise", "edm churn", "ddim eta", "dpm_solver_3", "deis_rho_3", "unipc_3",
]  # fmt: skip


def name(of):
    """Of a way, or of a process."""
    return of if isinstance(of, str) else type(of).__name__


# All but what `configure` refuses: polynomials in t where alpha goes to 0, and too few steps of the SDE.
TAKEN = [
    (way, sde)
    for way, sde in itertools.product(WAYS, PROCESSES)
    if not (way in IN_TIME and isinstance(sde, (Cosine, Linear)))
    and not (way in {f"sde {solver}" for solver in SDE_SOLVERS} and isinstance(sde, Linear))
]


@pytest.mark.parametrize(
    ("way", "sde"),
    fast_where(lambda way, sde: way in FAST_WAYS and isinstance(sde, Cosine), TAKEN),
    ids=name,
)
def test_fixed_steps_take_every_grid(way, sde):
    """Images are finite, of the data's scale, all different, and different on another grid."""
    options, like = WAYS[way], jnp.zeros(SHAPE)
    noise = IndexedNoise.for_images(jax.random.key(0), jnp.arange(SHAPE[0]))
    sampler = configure(options, sde, ERRORS).sampler
    sample = jax.jit(lambda grid: sampler(mixture(sde), grid, noise, like))
    seen, times = [], np.zeros(0)
    for name in GRIDS:
        options.grid.name = name
        options.grid.times = ()
        if name == "times":
            count = STEPS + 1 if options.pc.predictor != "none" else STEPS
            options.grid.times = tuple(
                np.linspace(times[0], EPS, count).astype(np.float32).tolist()
            )
        times = configure(options, sde, ERRORS).grid
        samples = sample(times)
        assert np.all(samples.success)
        x = np.asarray(samples.x)
        assert np.isfinite(x).all()
        # Steps along t, and Heun's in ln(sigma/alpha) where the first spans 4.5 of it, overshoot where twelve of them span the noise;
        # what else comes out is an image.
        assert np.abs(x).max() < 1e4
        assert len(np.unique(x)) == x.size
        if name != "times":  # the uniform times again
            seen.append(x)
    assert len(np.unique(np.stack(seen), axis=0)) == len(GRIDS) - 1


ADAPTIVE = {
    "ode dopri5": sampling("ode", ode__steps="adaptive", ode__rtol=1e-2, ode__atol=1e-2),
    "ode each image": sampling(
        "ode", ode__steps="adaptive", ode__rtol=1e-2, ode__atol=1e-2, ode__step_size="image"
    ),
    "sde shark": sampling("sde", sde__steps="adaptive"),
    "sde each image": sampling("sde", sde__steps="adaptive", sde__step_size="image"),
    "dpm_solver_2": sampling("dpm_solver_2", exponential__steps="adaptive"),
    "dpm_solver_3": sampling(
        "dpm_solver_3", exponential__steps="adaptive", exponential__step_size="image"
    ),
}


@pytest.mark.parametrize(
    ("way", "sde"),
    product_where(
        lambda way, sde: way in ("sde shark", "dpm_solver_3") and isinstance(sde, Cosine),
        ADAPTIVE,
        PROCESSES,
    ),
    ids=name,
)
def test_adaptive_steps(way, sde):
    configured = configure(ADAPTIVE[way], sde)
    assert configured.adaptive
    noise = IndexedNoise.for_images(jax.random.key(0), jnp.arange(SHAPE[0]))
    samples = jax.jit(
        lambda: configured.sampler(mixture(sde), configured.grid, noise, jnp.zeros(SHAPE))
    )()
    assert np.all(samples.success)
    assert np.abs(samples.x).max() < 4  # of data within 2


REFUSED = [
    ("sampling.sampler='x' is unknown", "x", {}),
    *(
        ("estimates no error", "sde", {"sde__solver": name, "sde__steps": "adaptive"})
        for name, solver in SDE_SOLVERS.items()
        if not solver.estimates_error
    ),
    *(
        ("estimates no error", name, {"exponential__steps": "adaptive"})
        for name, method in EXPONENTIAL.items()
        if not method.adaptive
    ),
    *(
        ("has no stochastic form", name, {"exponential__eta": 0.5})
        for name, method in EXPONENTIAL.items()
        if not method.with_noise
    ),
    ("solver='euler' is unknown", "ode", {"ode__solver": "euler", "ode__steps": "adaptive"}),
    ("implicit", "ode", {"ode__solver": "kvaerno5"}),
    ("implicit", "ode", {"ode__solver": "implicit_euler", "ode__steps": "adaptive"}),
    ("sde.steps='both' is unknown", "sde", {"sde__steps": "both"}),
    ("step_size='pixel' is unknown", "ode", {"ode__steps": "adaptive", "ode__step_size": "pixel"}),
    ("h=-1.0: expected h >= 0", "sde", {"sde__h": -1.0}),
    ("eta=1.5: expected 0 <= eta <= 1", "ddim", {"exponential__eta": 1.5}),
    ("s_churn=-1.0: expected", "edm", {"edm__s_churn": -1.0}),
    ("tolerances must be positive", "sde", {"sde__steps": "adaptive", "sde__rtol": 0.0}),
    ("expected more than the 12 steps", "ddim", {"grid__name": "dp", "grid__candidates": 12}),
    ("only the steps of pc have a predictor_mean", "edm", {"noise_removal_by": "predictor_mean"}),
    ("this sampler reproduces the published times and steps", "pc_published", {"grid__name": "rho"}),
    ("this sampler reproduces the published times and steps", "pc_published", {"threshold": "static"}),
    ("there is no predictor", "pc", {"pc__predictor": "none", "pc__corrector": "ald",
                                     "noise_removal_by": "predictor_mean"}),
]  # fmt: skip


@pytest.mark.parametrize(("words", "sampler", "changes"), REFUSED)
def test_what_cannot_work_is_refused(words, sampler, changes):
    with pytest.raises(ValueError, match=words):
        configure(sampling(sampler, **changes), VP(), ERRORS)


@pytest.mark.parametrize(
    "options",
    [sampling("pc", pc__predictor=OPTIMAL), sampling("ddim", grid__name="dp")],
    ids=["optimal variance", "dp grid"],
)
def test_denoising_errors_are_asked_for(options):
    with pytest.raises(ValueError, match="needs the score model's denoising errors"):
        configure(options, VP())


def test_help_names_every_sampler():
    assert list(names.SAMPLERS) == list(SAMPLERS)
    for name, method in EXPONENTIAL.items():
        assert f"order {method.order}" in names.SAMPLERS[name]

"""The times of a configured sampler: from sampling.t_start on, for every grid, and annealed Langevin's levels."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.default import get_config
from score_sde.errors import ConfigError
from score_sde.restoration.methods import configured_for
from score_sde.samplers.configured import configure
from score_sde.samplers.entries import ENTRIES
from score_sde.samplers.grids import GRIDS, cheapest_grid
from score_sde.samplers.names import SECTIONS
from score_sde.samplers.noise import IndexedNoise, RecordedNoise
from score_sde.samplers.optimal_variance import OptimalVariance
from score_sde.samplers.schedules import forward_variance, step_costs
from score_sde.sde_lib import (
    EDM,
    VE,
    VP,
    Cosine,
    Linear,
    ShiftedCosine,
    Sigmoid,
    Trigonometric,
    expand,
)
from tests.generation.test_drivers import small
from tests.samplers.closed_forms import QUICK_PROCESSES, closed_form
from tests.samplers.mixture_flow import mixture

EPS, T_START, STEPS = 1e-3, 0.4, 12
ERRORS = OptimalVariance((1e-3, 0.3, 0.9), (0.9, 0.5, 0.01))


@pytest.mark.parametrize("name", list(GRIDS))
@pytest.mark.parametrize("sde", QUICK_PROCESSES, ids=repr)
def test_every_grid_falls_from_t_start_to_eps(sde, name):
    options = small("edm", STEPS, grid__name=name, grid__candidates=30, t_start=T_START).sampling
    if name == "times":
        options.grid.times = tuple(np.geomspace(T_START, EPS, STEPS + 1).tolist())
    grid = np.asarray(configure(options, sde, ERRORS).grid)
    assert grid.shape == (STEPS + 1,)
    assert (grid[0], grid[-1]) == (np.float32(T_START), np.float32(EPS))
    assert np.all(np.diff(grid) < 0)


SUITED = [
    ("pc", "uniform", {}),
    ("sde", "uniform", {"sde__steps": "grid"}),
    ("ode", "uniform", {"ode__steps": "grid"}),
    ("edm", "rho", {}),
    ("ddim", "log_snr", {}),
    ("unipc_3", "log_snr", {}),
]


@pytest.mark.parametrize(("sampler", "suited", "fields"), SUITED)
def test_left_alone_the_grid_suits_the_sampler(sampler, suited, fields):
    """Times and record are those of the grid given by name."""
    assert small(sampler, STEPS).sampling.grid.name == "auto"
    configured = configure(small(sampler, STEPS, **fields).sampling, VP())
    named = configure(small(sampler, STEPS, grid__name=suited, **fields).sampling, VP())
    np.testing.assert_array_equal(configured.grid, named.grid)
    assert configured.settings == named.settings
    assert configured.settings["grid"] == suited
    others = {"uniform", "rho", "log_snr"} - {suited}
    for name in others:
        other = configure(small(sampler, STEPS, grid__name=name, **fields).sampling, VP())
        assert np.abs(other.grid - configured.grid).max() > 0.05


def clipped(sde, variance=1.0, error=0.0):
    """The score of N(0, variance) of a network whose noise, as normalised ones', is bounded: by 4.5, which none of its images comes near,
    and wrong by a smooth function of this root mean square."""

    def score(x, t):
        alpha, sigma = expand(sde.alpha(t), x), expand(sde.sigma(t), x)
        whole = alpha**2 * variance + sigma**2
        noise = jnp.clip(sigma * x / whole, -4.5, 4.5)
        return -(noise + np.sqrt(2) * error * jnp.sin(3 * x / jnp.sqrt(whole) + 1)) / sigma

    return score


EULER = "euler_maruyama"
FAST_ENDS = [(Cosine(), "pc"), (Cosine(), "sde"), (Sigmoid(), "sde"), (ShiftedCosine(), "pc"), (Linear(), "pc")]  # fmt: skip


@pytest.mark.parametrize(("sde", "sampler"), FAST_ENDS, ids=repr)
def test_a_bounded_network_samples_where_alpha_goes_to_0(sde, sampler):
    """By default, small steps give N(0, 1) to five standard errors (a false alarm in 10^6). In equal steps of t an image that is far
    too large stays so: under `cosine` the standard deviation is 16,000."""
    steps, images = {"pc": 1000, "sde": 100}[sampler], 4000
    fields = {"pc__predictor": EULER, "pc__corrector": "none", "sde__steps": "grid"}
    configured = configure(small(sampler, steps, **fields).sampling, sde)
    assert configured.settings["grid"] == "log_snr"
    start = jax.random.normal(jax.random.key(0), (images, 1))
    noise = IndexedNoise(jax.random.split(jax.random.key(1), images))
    x = jax.jit(
        lambda x: configured.sampler.sample(clipped(sde), configured.grid, noise, x, False).x
    )(start)
    assert float(jnp.std(x)) == pytest.approx(1.0, abs=5 / np.sqrt(2 * images))


ANCESTRAL = {"pc__predictor": "ancestral_sampling", "pc__corrector": "none"}
OF_A_NETWORK = [
    (Cosine(), "pc", 100, ANCESTRAL, 1.1),  # in equal steps of t 510 times the data's spread
    (Cosine(), "pc", 1000, {**ANCESTRAL, "pc__predictor": "probability_flow"}, 1.15),  # 52
    (Sigmoid(), "ode", 20, {"ode__solver": "heun"}, 1.1),  # 250
    (Cosine(), "ode", 20, {"ode__solver": "heun"}, 1.1),  # 1,100
    (Trigonometric(), "sde", 20, {"sde__solver": "shark"}, 1.1),  # 100
    (Trigonometric(), "ode", 20, {"ode__solver": "euler"}, 1.1),
    (Cosine(), "edm", 17, {}, 1.2),  # 1.42 on rho
    (VP(), "pc", 100, ANCESTRAL, 1.1),
]


@pytest.mark.parametrize(("sde", "sampler", "steps", "fields", "most"), OF_A_NETWORK, ids=str)
def test_a_networks_error_of_a_few_hundredths_stays_small(sde, sampler, steps, fields, most):
    """Left alone, the spread of N(0, 1/4) comes out by a network whose noise is off by .03: to the error of the steps, which is stated, and
    five standard errors (a false alarm in 10^6)."""
    images = 1000
    of_grid = {f"{sampler}__steps": "grid"} if sampler in ("ode", "sde") else {}
    configured = configure(small(sampler, steps, **of_grid, **fields).sampling, sde)
    start = sde.prior_std * jax.random.normal(jax.random.key(0), (images, 1))
    noise = IndexedNoise(jax.random.split(jax.random.key(1), images))
    score = clipped(sde, 0.25, 0.03)
    x = jax.jit(lambda x: configured.sampler.sample(score, configured.grid, noise, x, False).x)(start)  # fmt: skip
    own = 5 / np.sqrt(2 * images)
    assert 0.9 - own < float(jnp.std(x)) / 0.5 < most + own


LEFT_ALONE = [("pc", {"pc__predictor": EULER}), ("pc", {"pc__predictor": "ancestral_sampling"}), ("sde", {"sde__steps": "grid"}), ("ode", {"ode__steps": "grid"})]  # fmt: skip


@pytest.mark.parametrize(("sampler", "fields"), LEFT_ALONE, ids=str)
def test_samples_of_edm_have_the_datas_spread(sampler, fields):
    """By default, 200 steps give N(.3, .5^2) to .011 in the standard deviation: their own error (.007) plus three standard
    errors (a false alarm in 700). In equal steps of t, the last begins at sigma = .4: .60 and .68 by pc, .46 by sde, .54 by ode."""
    sde, images = EDM(), 65536
    fields = {"pc__corrector": "none", "noise_removal": True, "eps": 0.002} | fields
    configured = configure(small(sampler, 200, **fields).sampling, sde)

    def score(x, t):
        sigma = expand(sde.sigma(t), x)
        return (0.3 - x) / (0.25 + sigma**2)

    start = 80 * jax.random.normal(jax.random.key(0), (images, 1))
    noise = IndexedNoise(jax.random.split(jax.random.key(1), images))
    x = jax.jit(lambda x: configured.sampler.sample(score, configured.grid, noise, x, True).x)(start)  # fmt: skip
    assert float(jnp.std(x)) == pytest.approx(0.5, abs=0.011)


def test_equal_steps_stay_where_they_end_in_no_noise():
    for sde in (VP(), VE(0.01, 50.0), VE(0.05, 50.0)):  # of the last what is seen stays at the end
        assert configure(small("ode", STEPS, ode__steps="grid").sampling, sde).settings["grid"] == "uniform"  # fmt: skip
    options = small("ode", STEPS, ode__steps="grid", t_start=1.0).sampling
    of_an_edit = configure(options, EDM())
    assert of_an_edit.settings["grid"] == "uniform"
    published = {"pc__predictor": EULER, "pc__corrector": "none"}  # whose times are its own
    times = configure(small("pc_published", STEPS, **published).sampling, EDM()).grid
    np.testing.assert_allclose(np.diff(times), np.diff(times)[0], rtol=1e-4)


def test_the_grid_is_for_the_steps_that_need_it():
    """Not where sampling begins later, nor by a network that gives the velocity at T itself; restoration takes the steps of pc."""
    options = small("pc", STEPS, pc__predictor="none", pc__corrector="ald").sampling
    langevin = configure(options, Cosine())
    assert langevin.settings["grid"] == "log_snr"
    assert np.ptp(np.diff(Cosine().log_snr(langevin.grid[1:]))) < 0.01
    flow = configure(small("ode", STEPS, ode__steps="grid").sampling, Linear())
    assert (flow.settings["grid"], float(flow.grid[0])) == ("uniform", 1.0)
    options = small("pc", STEPS, pc__predictor=EULER, t_start=0.9).sampling
    assert configure(options, Cosine()).settings["grid"] == "uniform"
    config = small("pc", STEPS, pc__predictor=EULER)
    config.restore.method = "repaint"
    assert configured_for(config, Cosine()).settings["grid"] == "log_snr"
    assert configured_for(config, VP()).settings["grid"] == "uniform"


@pytest.mark.parametrize("sde", [Cosine(), Sigmoid(), ShiftedCosine(), Trigonometric()], ids=repr)
def test_what_cannot_follow_such_a_process_is_refused(sde):
    """By what is right there."""
    euler = {"pc__predictor": EULER, "pc__corrector": "none"}
    with pytest.raises(ConfigError, match="are Euler's, .*; use --sampler pc"):
        configure(small("pc_published", STEPS, **euler).sampling, sde)
    for name in ("deis_t_2", "deis_t_3"):
        with pytest.raises(ConfigError, match=name.replace("_t_", "_rho_")):
            configure(small(name, STEPS).sampling, sde)
        assert configure(small(name, STEPS, t_start=0.8).sampling, sde).denoises
    assert configure(small("pc_published", 1000, **euler).sampling, VP(beta_max=110.0)).grid.shape == (1000,)  # fmt: skip
    assert configure(small("pc_published", 1000, **euler).sampling, Trigonometric()).grid.shape == (1000,)  # fmt: skip
    assert configure(small("deis_t_2", STEPS).sampling, VP(beta_max=110.0)).denoises
    chain = {**euler, "pc__predictor": "ancestral_sampling"}
    assert configure(small("pc_published", STEPS, **chain).sampling, Cosine()).grid.shape == (STEPS,)  # fmt: skip


def test_an_adaptive_sampler_goes_from_t_start_to_eps():
    options = small("ode", ode__steps="adaptive", t_start=T_START).sampling
    np.testing.assert_array_equal(configure(options, VP()).grid, np.float32([T_START, EPS]))
    options.t_start = 0.0
    np.testing.assert_array_equal(configure(options, VP()).grid, np.float32([1.0, EPS]))


def test_what_adaptive_steps_do_not_read_is_said():
    """A note for a number of steps, and an error for an explicit choice of times."""
    options = small("ode", 20, ode__steps="adaptive").sampling
    assert configure(options, VP()).note == ""
    options.ode.num_steps = 7
    note = configure(options, VP()).note
    assert "sampling.ode.num_steps=7" in note
    assert "set sampling.ode.steps=grid" in note
    options.grid.name = "dp"
    with pytest.raises(
        ValueError, match="grid.name='dp' with adaptive steps, which choose their own"
    ):
        configure(options, VP())
    options.ode.steps = "grid"
    assert configure(options, VP(), ERRORS).note == ""


OTHERWISE = [
    ("edm", {"grid__name": "rho"}, {"grid__rho": 3.0}),
    ("edm", {"grid__name": "times"}, {"grid__times": (1.0, 0.2, 0.1, EPS)}),
    ("edm", {"grid__name": "dp"}, {"grid__candidates": 7}),
    ("edm", {"grid__name": "uniform"}, {"grid__rho": 3.0}),
    ("pc", {"pc__corrector": "langevin"}, {"noise_removal_by": "predictor_mean"}),
    ("pc", {"pc__corrector": "langevin"}, {"snr": 0.5}),
    ("pc", {"pc__corrector": "langevin"}, {"n_steps_each": 3}),
    ("pc", {"pc__corrector": "none"}, {"snr": 0.5, "n_steps_each": 3}),
    ("pc", {"noise_removal": False}, {"noise_removal_by": "predictor_mean"}),
]  # fmt: skip


@pytest.mark.parametrize(("sampler", "fields", "more"), OTHERWISE)
def test_the_record_differs_where_samples_do(sampler, fields, more):
    """By one option more: other samples and another record, or the same ones."""
    times = {"grid__times": (1.0, 0.5, 0.1, EPS)} if fields.get("grid__name") == "times" else {}
    start, noise = jnp.ones((2, 3)), IndexedNoise(jax.random.split(jax.random.key(1), 2))

    def of(options):
        configured = configure(small(sampler, 3, **options).sampling, VP(), ERRORS)
        score = clipped(VP(), 0.25)
        x = configured.sampler.sample(score, configured.grid, noise, start, configured.denoises).x
        return np.asarray(x), configured.settings

    (one, record), (another, other_record) = of(fields | times), of(fields | more)
    assert np.array_equal(one, another) == (record == other_record)


def test_a_list_of_times_is_of_one_sampler():
    """With several samplers, each on its own grid or by its tolerance, the list is not used."""
    options = small("edm", grid__name="times").sampling
    options.grid.times = tuple(np.geomspace(1.0, EPS, 4).tolist())
    options.eps = EPS
    run = ENTRIES["unipc_3"].with_steps(5, "log_snr")
    assert run.build(options, VP()).grid.shape == (6,)
    run = ENTRIES["dopri5 adaptive"].with_tolerance(0.1)
    assert run.build(options, VP()).adaptive
    assert ENTRIES["edm"].with_steps(3, "times").build(
        options, VP()
    ).grid.tolist() == pytest.approx(options.grid.times)


@pytest.mark.parametrize("t_start", [0.0, T_START])
def test_annealed_langevin_corrects_at_every_level(t_start):
    """L levels are L - 1 steps between them and one that stays at the first, since every step corrects at its end."""
    options = small("pc", 5, pc__predictor="none", pc__corrector="ald", t_start=t_start).sampling
    grid = np.asarray(configure(options, VE()).grid)
    first = t_start or 1.0
    np.testing.assert_allclose(grid, [first, *np.linspace(first, EPS, 5)], rtol=1e-6)


@pytest.mark.parametrize("sde", QUICK_PROCESSES, ids=repr)
def test_no_choice_among_the_candidates_is_cheaper_than_dp(x64, sde):
    """Three steps among nine times of equal log-SNR, against all 21 choices; the first time is t_start."""
    variance, count = 0.25, 9
    times = np.geomspace(EPS, 1.0, 300)
    here = [closed_form(sde, t) for t in times]
    errors = [a.alpha**2 * variance / (a.alpha**2 * variance + a.sigma**2) for a in here]
    table = OptimalVariance(tuple(times.tolist()), tuple(errors))
    grid = np.asarray(cheapest_grid(sde, T_START, EPS, 3, count, table))

    def log_ratio(t):
        return np.log(closed_form(sde, t).sigma / closed_form(sde, t).alpha)

    ends = log_ratio(EPS), log_ratio(T_START)
    places = [(log_ratio(t) - ends[0]) / (ends[1] - ends[0]) * (count - 1) for t in grid]
    np.testing.assert_allclose(places, np.round(places), atol=1e-6)
    assert (grid[0], grid[-1]) == (T_START, EPS)

    # The candidates, found from the closed forms by interpolation in a fine table, and every way among them.
    fine = np.geomspace(EPS, T_START, 100_001)
    ratios = log_ratio(fine)
    candidates = np.interp(np.linspace(*ends, count), ratios, fine)
    exact = np.interp([log_ratio(t) for t in candidates], [log_ratio(t) for t in times], errors)
    costs = step_costs(sde, candidates, exact, forward_variance)
    ways = [(0, *inner, count - 1) for inner in itertools.combinations(range(1, count - 1), 2)]
    lengths = {way: sum(costs[b, a] for a, b in itertools.pairwise(way)) for way in ways}
    chosen = tuple(int(round(place)) for place in places[::-1])
    assert lengths[chosen] == pytest.approx(min(lengths.values()), rel=1e-9)
    assert np.median(list(lengths.values())) > 1.001 * lengths[chosen]


@pytest.mark.parametrize("way", ["predictor_mean", "tweedie"])
def test_the_predictors_mean_is_free_of_the_last_noise(way):
    """In place of a last denoising: the noise of the last step matters only if a Tweedie step follows."""
    options = small("pc", STEPS, pc__corrector="langevin", noise_removal_by=way).sampling
    configured, rng = configure(options, VP()), np.random.default_rng(0)
    start, steps = rng.normal(size=(2, 3)), rng.normal(size=(STEPS, 2, 2, 3))
    other = np.concatenate([steps[:-1], steps[:1]])
    one, another = (
        configured.sampler(
            mixture(VP()), configured.grid, RecordedNoise(start, z), jnp.asarray(start)
        ).x
        for z in (steps, other)
    )
    assert np.array_equal(one, another) == (way == "predictor_mean")
    assert configured.denoises == (way == "tweedie")


def test_a_start_that_is_no_time_of_the_process_is_refused():
    for t_start in (1.5, 1e-4, EPS):
        with pytest.raises(ValueError, match=f"t_start={t_start}: expected a time between"):
            configure(small("edm", t_start=t_start).sampling, VP())
    assert jnp.isfinite(configure(small("edm", t_start=1.0).sampling, VP()).grid).all()


@pytest.mark.parametrize("name", SECTIONS)
def test_a_sampler_reads_the_steps_of_its_section_alone(name):
    def times(**num_steps):
        options = get_config().sampling
        options.sampler, options.ode.steps = name, "grid"
        for section, number in num_steps.items():
            options[section].num_steps = number
        return len(configure(options, Linear() if name == "mean_flow" else VP()).grid)

    own, steps = SECTIONS[name], dict.fromkeys(set(SECTIONS.values()), 9)
    assert times(**steps) != times(**{**steps, own: 13})
    assert times(**{**steps, own: 13}) == times(**{own: 13})

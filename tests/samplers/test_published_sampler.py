"""The published predictor-corrector sampler, replayed step by step with its recorded noise.

Golden files (`sampler_pc_*.npz`): score_sde_pytorch, commit cb1f359, with the exact score of Gaussian data
N(mu, s^2 I) in place of a network; 20 steps, 4 images, every draw stored. Images there are (b, c, h, w).
"""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.models.exact import GaussianScore
from score_sde.samplers.noise import START, RecordedNoise
from score_sde.samplers.published import CORRECTORS, PREDICTORS, PublishedPredictorCorrector
from score_sde.sde_lib import SDE, VE, VP, SubVP

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = sorted(path.stem.removeprefix("sampler_pc_") for path in GOLDEN.glob("sampler_pc_*.npz"))
NAMES = {
    "em": "euler_maruyama",
    "rd": "reverse_diffusion",
    "anc": "ancestral_sampling",
    "none": "none",
}


def nhwc(x):
    return np.moveaxis(x, -3, -1)


def replay(name):
    """The sampler that a golden file was made with, its arrays in our layout, its score and its noise."""
    with np.load(GOLDEN / f"sampler_pc_{name}.npz") as file:
        arrays = dict(file)
    parameters = json.loads(str(arrays["params_json"]))
    process, predictor, corrector, *flow = name.split("_")
    fields = ("sigma_min", "sigma_max") if process == "ve" else ("beta_min", "beta_max")
    sde_class = {"vp": VP, "subvp": SubVP, "ve": VE}[process]
    sde: SDE = sde_class(*(parameters[field] for field in fields))
    sampler = PublishedPredictorCorrector(
        sde,
        predictor="probability_flow" if flow else NAMES[predictor],
        corrector=corrector,
        num_scales=len(arrays["timesteps"]),
        snr=parameters["snr"],
        noise_removal=parameters["denoise"],
    )
    d = arrays["mu"].size
    variance = jnp.full(d, float(arrays["s"]) ** 2, jnp.float32)
    score = GaussianScore(jnp.asarray(nhwc(arrays["mu"]).ravel()), variance, jnp.eye(d), sde)
    steps = np.zeros((sampler.num_scales, 2, *nhwc(arrays["noise"]).shape[1:]), np.float32)
    # The slots are ours: 0 for the predictor, 1 for the corrector.
    slots = 1 - arrays["noise_source"]
    steps[arrays["noise_step"], slots] = nhwc(arrays["noise"])
    noise = RecordedNoise(jnp.asarray(nhwc(arrays["prior_noise"])), jnp.asarray(steps))
    return sampler, score, noise, arrays, parameters


def relative_error(got, expected):
    return np.abs(np.asarray(got) - expected).max() / np.abs(expected).max()


def test_all_files_are_replayed():
    assert len(FILES) == 21


@pytest.mark.parametrize("name", FILES)
def test_every_state_of_the_recorded_run(name):
    sampler, score, noise, golden, parameters = replay(name)
    times = sampler.times(parameters["eps"])
    np.testing.assert_allclose(times, golden["timesteps"], atol=1e-7)

    @jax.jit
    def run():
        x = sampler.sde.prior_sample(noise(START, 0, nhwc(golden["x_init"])))
        start = sampler.begin(x)

        def body(state, k):
            corrected = sampler.correct(score, times[k], noise, k, state.x)
            state = sampler.step(score, times, noise, k, state)
            return state, (corrected, state.x)

        last, (corrected, states) = jax.lax.scan(body, start, jnp.arange(len(times)))
        return start, last, corrected, states

    start, last, corrected, states = run()
    assert relative_error(start.x, nhwc(golden["x_init"])) < 1e-6
    # The published run is itself up to 5e-7 of its size from its float64 one (4e-5 where VE divides by 0.01).
    for k, expected in enumerate(nhwc(golden["x_steps"])):
        assert relative_error(states[k], expected) < 1e-5, k
    if "x_after_corrector" in golden:
        for k, expected in enumerate(nhwc(golden["x_after_corrector"])):
            assert relative_error(corrected[k], expected) < 1e-5, k
    assert relative_error(last.mean, nhwc(golden["x_mean_final"])) < 1e-5
    assert relative_error(sampler.result(last), nhwc(golden["sample"])) < 1e-5


def law(sampler, eps, score):
    """Mean and variance of the samples of a scalar problem, by differentiating through the sampler's noise."""
    n, slots = sampler.num_scales, 1 + sampler.corrector_steps
    times = sampler.times(eps)

    def sample(start, steps):
        noise = RecordedNoise(start.reshape(1, 1), steps.reshape(n, slots, 1, 1))
        return sampler(score, times, noise, jnp.zeros((1, 1))).x[0, 0]

    zeros = jnp.zeros(()), jnp.zeros((n, slots))
    mean, gradients = jax.jit(jax.value_and_grad(sample, argnums=(0, 1)))(*zeros)
    return float(mean), float(sum(jnp.sum(g**2) for g in gradients))


def test_exact_law_of_the_published_grid(x64):
    """N times with steps 1/N: the distribution of Euler-Maruyama by a recursion, for data N(0.5, 0.25)."""
    score = GaussianScore(jnp.full(1, 0.5), jnp.full(1, 0.25), jnp.eye(1), VP())
    sampler = PublishedPredictorCorrector(
        VP(), "euler_maruyama", "none", num_scales=1000, noise_removal=False
    )
    mean, variance = law(sampler, 1e-3, score)
    assert mean == pytest.approx(0.500295, abs=0.51e-6)
    assert variance == pytest.approx(0.250353, abs=0.51e-6)


def test_norms_are_averaged_over_all_devices():
    """Four devices with one image each give the result of one device with four: one step size for all."""
    sampler, score, noise, golden, parameters = replay("vp_rd_langevin")
    x, z = (jnp.asarray(nhwc(golden[k])) for k in ("x_init", "prior_noise"))
    z = RecordedNoise(x, jnp.stack([z, z])[None])
    t = jnp.asarray(0.4)
    together = sampler.correct(score, t, z, jnp.asarray(0), x)

    across = dataclasses.replace(sampler, axis_name="images")
    apart = jax.pmap(
        lambda x, steps: across.correct(score, t, RecordedNoise(x, steps), jnp.asarray(0), x),
        axis_name="images",
    )(x[:, None], jnp.moveaxis(z.steps, 2, 0)[:, :, :, None])
    np.testing.assert_allclose(apart[:, 0], together, rtol=1e-5, atol=1e-6)
    alone = sampler.correct(score, t, RecordedNoise(x, z.steps[:, :, :1]), jnp.asarray(0), x[:1])
    assert np.abs(alone - together[:1]).max() > 1e-3


@pytest.mark.parametrize(
    ("sde", "predictor", "corrector", "num_steps", "words"),
    [
        (SubVP(), "ancestral_sampling", "none", 20, "SubVP has no published chain"),
        (SubVP(), "reverse_diffusion", "langevin", 20, "SubVP has no published chain"),
        (VP(), "ancestral_sampling", "none", 20, "more than beta_max scales"),
        (VP(), "none", "none", 20, "both 'none'"),
        (VP(), "ancestral_sampling_posterior", "none", 100, "not one of the published"),
        (VP(), "none", "hmc", 100, "not one of the published"),
    ],
)
def test_what_the_published_code_cannot_do_is_refused(sde, predictor, corrector, num_steps, words):
    with pytest.raises(ValueError, match=words):
        PublishedPredictorCorrector(sde, predictor, corrector, num_steps)


def test_every_published_predictor_and_corrector_is_replayed():
    samplers = [replay(name)[0] for name in FILES]
    assert {sampler.predictor for sampler in samplers} == set(PREDICTORS)
    assert {sampler.corrector for sampler in samplers} == set(CORRECTORS)


def test_evaluations_are_counted():
    """A predictor step and two corrector steps at each of 20 times; only those that exist are counted."""

    def nfe(predictor, corrector):
        return PublishedPredictorCorrector(
            VE(), predictor, corrector, num_scales=20, corrector_steps=2
        ).nfe(20)

    assert nfe("reverse_diffusion", "langevin") == 60
    assert nfe("reverse_diffusion", "none") == 20
    assert nfe("none", "ald") == 40

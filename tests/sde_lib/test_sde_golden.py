"""Processes against score_sde_pytorch (commit cb1f359), run once on a CPU; tests/golden/sde_*.npz hold its arrays.

`f64/` is the reference in float64 at the same (float32) times and states, with negligible cancellation;
`f32/` is the same in float32. Where the reference suffers from cancellation, the test says so and compares with f64.
"""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from score_sde.sde_lib import VE, VP, SubVP

GOLDEN = Path(__file__).parents[1] / "golden"
PROCESSES = {"VPSDE": VP, "subVPSDE": SubVP, "VESDE": VE}

pytestmark = pytest.mark.usefixtures("x64")


class Reference:
    def __init__(self, name):
        with np.load(GOLDEN / f"sde_{name}.npz") as arrays:
            self.arrays = dict(arrays)
        parameters = json.loads(str(self.arrays["params_json"]))
        self.num_scales = parameters.pop("N")
        assert parameters.pop("T") == 1
        self.sde = PROCESSES[parameters.pop("sde")](**parameters)

    def __getitem__(self, key):
        return jnp.asarray(self.arrays[key])


@pytest.fixture(
    params=[f"{sde}_{variant}" for sde in ("vp", "subvp", "ve") for variant in ("default", "alt")]
)
def reference(request):
    return Reference(request.param)


@pytest.fixture(params=["f32", "f64"])
def precision(request):
    return request.param


# float32 roundings: the exponent of sigma and g^2 reaches 17, so 17 * 6e-8 on either side. In float64 the
# reference's 1 - exp(-B) leaves 1e-16/1e-6 = 1e-10 of a variance at t = 1e-5.
RTOL = {"f32": 4e-6, "f64": 4e-10}


def test_marginal(reference, precision):
    t, x = reference[f"{precision}/t"], reference[f"{precision}/x"]
    mean, std = reference.sde.marginal(x, t)
    assert mean.dtype == std.dtype == t.dtype
    assert_allclose(mean, reference[f"{precision}/marginal_mean"], rtol=RTOL[precision])
    # The reference's own float32 std has lost digits at small t; its float64 one has not.
    assert_allclose(std, reference["f64/marginal_std"], rtol=RTOL[precision])


def test_drift_and_diffusion(reference, precision):
    t, x = reference[f"{precision}/t"], reference[f"{precision}/x"]
    rtol = RTOL[precision]
    assert_allclose(reference.sde.drift(x, t), reference[f"{precision}/sde_drift"], rtol=rtol)
    # sub-VP's g holds 1 - exp(-2B), which the reference's float32 loses too.
    assert_allclose(reference.sde.diffusion(t), reference["f64/sde_diffusion"], rtol=rtol)


@pytest.mark.parametrize(
    ("h", "name"), [(1.0, "reverse_drift"), (0.0, "probflow_drift")], ids=["sde", "flow"]
)
def test_reverse_drift(reference, precision, h, name):
    t, x = reference[f"{precision}/t"], reference[f"{precision}/x"]
    score = reference[f"{precision}/score"]
    drift = reference.sde.reverse_drift(x, t, score, h)
    # Its two terms have opposite signs, so the error counts against their sizes.
    variance_rate = reference["f64/sde_diffusion"][:, None, None, None] ** 2
    size = abs(reference["f64/sde_drift"]) + abs(variance_rate * reference["f64/score"])
    assert np.all(abs(drift - reference[f"f64/{name}"]) <= RTOL[precision] * size)


def test_reverse_diffusion(reference):
    g = reference.sde.reverse_diffusion(reference["f64/t"])
    assert_allclose(g, reference["f64/reverse_diffusion"], rtol=RTOL["f64"])


def test_prior(reference, precision):
    x = reference[f"{precision}/x"]
    log_density = reference.sde.prior_log_density(x)
    assert_allclose(log_density, reference[f"{precision}/prior_logp"], rtol=RTOL[precision])
    sample = reference.sde.prior_sample(reference["prior_noise"])
    assert_allclose(sample, reference["prior_sample"], rtol=2e-7)  # one product in float32


def levels(reference):
    """Indices of the reference's table look-ups; they are its outputs, not ours."""
    return reference["f32/timestep"]


@pytest.mark.parametrize("name", ["vp_default", "vp_alt", "ve_default", "ve_alt"])
def test_chain_step(name, precision):
    reference = Reference(name)
    chain = reference.sde.chain(reference.num_scales)
    x = reference[f"{precision}/x"]
    shift, noise = chain.step(x, levels(reference))
    # The reference takes sqrt(1 - beta) x - x in float32, so its own error is one rounding of x.
    x_rounding = 2e-7 * np.max(np.abs(x))
    assert_allclose(shift, reference[f"{precision}/discretize_f"], rtol=0, atol=x_rounding)
    # VE: neighbouring variances differ by 1.7 % of either (N = 1000), which magnifies the some 5 float32
    # roundings (6e-8) of the reference's table by 60, and the square root halves that.
    assert_allclose(noise, reference[f"{precision}/discretize_G"], rtol=4e-5)


@pytest.mark.parametrize("name", ["subvp_default", "subvp_alt"])
def test_sub_vp_steps_by_euler_maruyama(name):
    reference = Reference(name)
    t, x = reference["f64/t"], reference["f64/x"]
    dt = jnp.full_like(t, 1.0 / reference.num_scales)
    mean, std = reference.sde.euler_maruyama(x, t, dt)
    assert_allclose(mean - x, reference["f64/discretize_f"], rtol=1e-8, atol=1e-12)
    assert_allclose(std, reference["f64/discretize_G"], rtol=1e-7)  # its sqrt(dt) is float32


@pytest.mark.parametrize("name", ["vp_default", "vp_alt"])
def test_ddpm_tables(name):
    reference = Reference(name)
    chain = reference.sde.chain(reference.num_scales)
    assert_allclose(chain.betas, reference["table/discrete_betas"], rtol=2e-7)
    assert_allclose(chain.step_alphas**2, reference["table/alphas"], rtol=2e-7)
    # The reference multiplies N float32 numbers: N roundings of 6e-8, some 1e-6 when they average out ...
    assert_allclose(chain.alphas**2, reference["table/alphas_cumprod"], rtol=1e-5)
    assert_allclose(chain.alphas, reference["table/sqrt_alphas_cumprod"], rtol=1e-5)
    # ... and subtracts from 1, so its variances have an absolute error of that size.
    variances = reference["table/sqrt_1m_alphas_cumprod"] ** 2
    assert_allclose(chain.sigmas**2, variances, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["ve_default", "ve_alt"])
def test_smld_tables(name):
    reference = Reference(name)
    chain = reference.sde.chain(reference.num_scales)
    assert_allclose(chain.sigmas, reference["table/discrete_sigmas"], rtol=RTOL["f32"])

"""Power-function averages and post-hoc reconstruction, against the published EDM2 code (tests/golden/peers)."""

import math
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.training.power_average import (
    WIDEST,
    Profile,
    coefficients,
    exponent,
    gain,
    misfit,
    product,
    width,
)
from score_sde.training.state import moved

GOLDEN = Path(__file__).parents[1] / "golden" / "peers" / "edm2_phema.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


def profiles(golden, times, widths):
    return [Profile(t, exponent(w)) for t, w in zip(golden[times], golden[widths], strict=True)]


def test_exponents_and_widths(golden):
    np.testing.assert_allclose([exponent(s) for s in golden["std"]], golden["exp"], rtol=1e-9)
    np.testing.assert_allclose([width(g) for g in golden["exp"]], golden["exp_to_std"], rtol=1e-12)
    assert width(0.0) == pytest.approx(1 / math.sqrt(12))  # of a uniform law
    assert width(0.0) > WIDEST


@pytest.mark.usefixtures("x64")
def test_an_update_forgets_as_much_as_published(golden):
    shares = golden["beta/t_delta"] / golden["beta/t_next"]
    for s, expected in zip(golden["std"], golden["beta/value"], strict=True):
        np.testing.assert_allclose(1 - gain(exponent(s), shares), expected, rtol=1e-9, atol=1e-12)


def test_a_small_share_of_a_long_run_is_not_lost_in_float32():
    """After 10^7 updates 1 - (1 - 1e-7)^8 is 8e-7 to seven digits; 1 minus a float32 near 1 would keep one of them."""
    found = gain(7.0, jnp.float32(1e-7))
    assert found == pytest.approx(-math.expm1(8 * math.log1p(-1e-7)), rel=1e-5)
    assert gain(7.0, jnp.float32(1.0)) == 1


def test_products_of_profiles(golden):
    a = profiles(golden, "corr/a_ofs", "corr/a_std")
    b = profiles(golden, "corr/b_ofs", "corr/b_std")
    np.testing.assert_allclose([*map(product, a, b)], golden["corr/value"], rtol=1e-9)
    np.testing.assert_allclose([*map(product, b, a)], golden["corr/value"], rtol=1e-9)


def test_a_product_is_the_integral():
    """By the trapezoid rule on 10^5 points; the profiles end at 3 and at 5."""
    a, b = Profile(3.0, 2.5), Profile(5.0, 6.0)
    s = np.linspace(0, 3, 100_001)
    of = [(p.exponent + 1) * s**p.exponent / p.time ** (p.exponent + 1) for p in (a, b)]
    assert product(a, b) == pytest.approx(np.trapezoid(of[0] * of[1], s), rel=1e-8)


def test_coefficients(golden):
    kept = profiles(golden, "solve/in_ofs", "solve/in_std")
    wanted = profiles(golden, "solve/out_ofs", "solve/out_std")
    np.testing.assert_allclose(coefficients(kept, wanted), golden["solve/coefficients"], atol=1e-6)


def test_what_was_kept_is_itself_and_a_wide_average_of_narrow_ones_is_far_off():
    kept = [Profile(t, exponent(s)) for t in (100, 200, 400) for s in (0.05, 0.1)]
    np.testing.assert_allclose(coefficients(kept, kept), np.eye(6), atol=1e-8)
    for k, profile in enumerate(kept):
        assert misfit(kept, profile, np.eye(6)[k]) < 1e-7
    near, far = (Profile(400, exponent(s)) for s in (0.08, 0.25))
    misfits = [misfit(kept, one, coefficients(kept, [one])[:, 0]) for one in (near, far)]
    assert misfits[0] < 0.05 < 0.2 < misfits[1]


def test_a_misfit_is_the_distance_of_the_profiles():
    """By the trapezoid rule on 10^5 points: a sum of two that end at 3 and at 5, beside one that ends at 5."""
    kept, wanted = [Profile(3.0, 2.5), Profile(5.0, 6.0)], Profile(5.0, 3.0)
    weights = np.array([0.3, 0.7])
    s = np.linspace(0, 5, 500_001)
    *of_kept, of_wanted = (
        np.where(s <= p.time, (p.exponent + 1) * s**p.exponent / p.time ** (p.exponent + 1), 0.0)
        for p in (*kept, wanted)
    )
    apart = np.trapezoid((weights @ np.stack(of_kept) - of_wanted) ** 2, s)
    norm = np.trapezoid(of_wanted**2, s)
    assert misfit(kept, wanted, weights) == pytest.approx(np.sqrt(apart / norm), rel=1e-4)
    # Of nothing the distance is the norm itself.
    assert misfit(kept, wanted, np.zeros(2)) == pytest.approx(1.0)


@pytest.mark.usefixtures("x64")
def test_a_whole_run_and_its_reconstruction(golden):
    """64 updates of three parameters: four intermediate averages, and two of other widths reconstructed from two stored ones."""
    averages = {name: jnp.zeros(3) for name in ("0.050", "0.080", "0.100", "0.150")}
    found = {name: [] for name in averages}
    for step, theta in enumerate(golden["traj/theta"]):
        for name, average in averages.items():
            share = 1 / (step + 1)
            averages[name] = moved(average, jnp.asarray(theta), gain(exponent(float(name)), share))
            found[name].append(averages[name])
    for name, values in found.items():
        np.testing.assert_allclose(np.stack(values), golden[f"traj/ema_{name}"], rtol=1e-9)

    updates = golden["traj/snap_nimg"] / golden["traj/batch"]
    kept = [Profile(t, exponent(s)) for t, s in zip(updates, golden["traj/snap_std"], strict=True)]
    wanted = [Profile(64, exponent(s)) for s in golden["traj/out_std"]]
    weights = coefficients(kept, wanted)
    # Independent of the unit of time.
    np.testing.assert_allclose(weights, golden["traj/coefficients"], atol=1e-6)
    snapshots = [
        golden[f"traj/ema_{s:.3f}"][int(t) - 1]
        for t, s in zip(updates, golden["traj/snap_std"], strict=True)
    ]
    np.testing.assert_allclose(
        weights.T @ np.stack(snapshots), golden["traj/reconstruction"], rtol=1e-7
    )

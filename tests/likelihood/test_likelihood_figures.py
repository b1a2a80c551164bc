"""The figures of --mode likelihood: means, errors, the AUC of anomalies, and the distance to a law that is known."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from score_sde.configs.toy_mixture import get_config
from score_sde.data.splits import ImagesInMemory
from score_sde.likelihood.bits_per_dim import BitsPerDim, Measured
from score_sde.likelihood.figures import detection, distance_to_truth, summary
from score_sde.models.exact import GaussianScore
from score_sde.sde_lib import VP


def of(*bits, error=(0.0,), nfe=(1.0,)):
    """One repeat."""
    bits = np.array([bits])
    return Measured(bits, np.resize(error, bits.shape), np.resize(nfe, bits.shape))


def test_every_figure_is_of_its_own_numbers():
    """By hand: spreads sqrt(7) and sqrt(13) over three images, own errors of (3, 4, 0) / 10 and (5, 12, 0), gaps 1, 2 and 3."""
    ode = of(1.0, 2.0, 6.0, error=(0.3, 0.4, 0.0), nfe=(10.0, 20.0, 33.0))
    bound = of(2.0, 4.0, 9.0, error=(5.0, 12.0, 0.0), nfe=(4.0, 5.0, 9.0))
    assert summary(BitsPerDim(ode, bound, None, 1.0)) == pytest.approx(
        {
            "ode_bits_per_dim": 3.0,
            "ode_standard_error": np.sqrt(7 / 3),
            "ode_own_error": 0.5 / 3,
            "ode_nfe": 21.0,
            "bound_bits_per_dim": 5.0,
            "bound_standard_error": np.sqrt(13 / 3),
            "bound_own_error": 13 / 3,
            "bound_nfe": 6.0,
            "gap": 2.0,
            "gap_standard_error": 1 / np.sqrt(3),
        }
    )


def test_anomalies_are_those_that_cost_more():
    """Of six pairs four in order and one tie by the ODE, five in order by the bound. Of the ODE's placements, (3/4, 1, 1/2) and (1, 1/2),
    the variances are 1/16 and 1/8: 1/48 + 1/16 = 1/12 is that of the AUC (DeLong et al. 1988)."""
    measured = BitsPerDim(of(1.0, 2.0), of(1.0, 2.0), None, 1.0)
    odd = BitsPerDim(of(2.0, 3.0, 1.5), of(4.0, 3.0, 1.5), None, 1.0)
    found = detection(measured, odd)
    assert found["num_anomalies"] == 3
    assert (found["auc_ode"], found["auc_bound"]) == pytest.approx((4.5 / 6, 5 / 6))
    assert found["auc_ode_standard_error"] == pytest.approx(np.sqrt(1 / 12))
    assert "auc_ode" not in detection(measured, BitsPerDim(None, of(1.0, 2.0), None, 1.0))


def test_the_truth_is_that_of_a_prior_that_is_not_the_marginal():
    """VP that ends at alpha^2 = exp(-.55): the flow carries N(0, I) to N(0, C_eps C_T^-1), not to N(0, C_eps). Three images of four
    correlated numbers, whose measured bits/dim are off by -.3, .1 and .2."""
    sde, eps, d = VP(0.1, 1.0), 0.1, 4
    config = get_config()
    config.data.image_size = 2
    config.likelihood.eps = eps
    covariance = 0.25 * 0.9 ** np.abs(np.subtract.outer(np.arange(d), np.arange(d)))
    model = GaussianScore.create(jnp.zeros(d), jnp.asarray(covariance, jnp.float32), sde)
    kept_at_eps, kept_at_end = np.exp(-(0.45 * eps**2 + 0.1 * eps)), np.exp(-0.55)
    at_eps, at_end = (
        kept * covariance + (1 - kept) * np.eye(d) for kept in (kept_at_eps, kept_at_end)
    )
    values, vectors = np.linalg.eigh(at_end @ np.linalg.inv(at_eps))
    x = np.random.default_rng(0).normal(size=(3, d)).astype(np.float32)
    latents = x @ (vectors * np.sqrt(values)) @ vectors.T
    law = multivariate_normal(cov=at_eps @ np.linalg.inv(at_end))
    exact = -law.logpdf(x.astype(np.float64)) / (d * np.log(2))
    found = distance_to_truth(
        config,
        sde,
        model,
        ImagesInMemory(x.reshape(3, 2, 2, 1)),
        of(*(exact + [-0.3, 0.1, 0.2])),
        latents.astype(np.float32).reshape(3, 2, 2, 1),
    )
    assert found["exact_bits_per_dim"] == pytest.approx(exact.mean(), abs=1e-4)
    assert found["largest_difference"] == pytest.approx(0.3, abs=1e-4)
    naive = -multivariate_normal(cov=at_eps).logpdf(x) / (d * np.log(2))
    assert abs(naive.mean() - exact.mean()) > 0.1

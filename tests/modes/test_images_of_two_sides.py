"""Images of 2x3 and of 8x12 pixels through the modes, with the exact score of a mixture and with networks."""

import math

import numpy as np
import pytest

from score_sde.configs.toy_mixture import get_config as toy_config
from score_sde.configs.vp_digits import get_config as digits_config
from score_sde.models.networks import NETWORKS
from score_sde.modes import likelihood, sample, train
from score_sde.sde_lib import build_sde
from score_sde.trained import Trained
from tests.training.stub_network import StubNetwork


def test_samples_and_likelihoods_of_six_pixels(tmp_path):
    """ln p(x) of the samples is the sum of the mixture's over pixels, accurate enough at eps = 1e-5. The pixels are
    independent, so a Rademacher probe is exact."""
    config = toy_config()
    config.data.update(image_size=2, image_width=3)
    config.sampling.update(sampler="unipc_3", num_images=8, batch_size=8)
    config.likelihood.update(num_images=8, batch_size=8, probe="rademacher", bound_draws=0)
    sde = build_sde(config)
    figures = sample.run(config, sde, tmp_path, *sample.check(config, sde))
    config.likelihood.anomalies = figures["arrays"]
    with np.load(figures["arrays"]) as arrays:
        x = arrays["images"].astype(np.float64)
    assert x.shape == (8, 2, 3, 1)
    likelihood.check(config, sde)
    figures = likelihood.run(config, sde, tmp_path)
    assert figures["largest_difference"] < 1e-3
    parts = [
        weight * np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
        for weight, mean, variance in ((0.3, -1.0, 0.04), (0.7, 0.6, 0.09))
    ]
    nats = -np.log(sum(parts)).reshape(8, 6).sum(axis=1)
    with np.load(figures["arrays"]) as arrays:
        np.testing.assert_allclose(arrays["anomalies_ode_nats"][0], nats, atol=0.02)
        bits = arrays["anomalies_ode_bits_per_dim"][0]
        np.testing.assert_allclose(bits * 6 * math.log(2), nats, atol=0.02)


@pytest.mark.parametrize("name", ["stub", pytest.param("ncsnpp", marks=pytest.mark.slow)])
def test_an_update_and_samples_of_a_network(tmp_path, monkeypatch, name):
    monkeypatch.setitem(NETWORKS, "stub", StubNetwork)
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 17, (40, 8, 12), np.uint8))
    config = digits_config()
    config.data.update(
        name="arrays", file=str(tmp_path / "a.npy"), image_width=12, stored_levels=17
    )
    config.model.update(name=name, nf=8, ch_mult=(1, 1), attn_resolutions=(4,))
    config.training.update(n_iters=1, batch_size=4, eval_freq=0, snapshot_freq=0)
    config.sampling.update(num_images=4, batch_size=4, sampler="ddim")
    config.sampling.exponential.num_steps = 2
    sde = build_sde(config)
    train.check(config, sde)
    assert math.isfinite(train.run(config, sde, tmp_path)["loss"])
    assert Trained.load(tmp_path).sample(4).shape == (4, 8, 12, 1)

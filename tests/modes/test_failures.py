"""A solver that fails or a score that is NaN is an error in every mode, and nothing is reported or written."""

import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.toy_mixture import get_config
from score_sde.errors import UserError
from score_sde.models.exact import ProductMixtureScore
from score_sde.modes import interpolate, likelihood, sample
from score_sde.sde_lib import build_sde


def small():
    config = get_config()
    config.data.image_size = 2
    config.sampling.update(sampler="ode", num_images=4, batch_size=4)
    config.likelihood.update(num_images=4, batch_size=4, bound_draws=0)
    config.interpolation.update(images=(0, 1), frames=2)
    return config


MODES = {
    sample: "4 of 4 samples did not come out finite",
    likelihood: "4 of 4 likelihoods did not come out finite",
    interpolate: "an image could not be encoded and decoded",
}


def name_of(mode):
    return mode.__name__.rpartition(".")[2]


# Of samples that are no numbers tests/generation/test_generate.py has a test in every run.
WHYS = [
    pytest.param(
        mode,
        why,
        marks=pytest.mark.slow if (mode, why) == (sample, "not a number") else (),
        id=f"{why}-{name_of(mode)}",
    )
    for why in ("too few steps", "not a number")
    for mode in MODES
]


@pytest.mark.parametrize(("mode", "why"), WHYS)
def test_what_failed_is_refused_and_leaves_no_file(tmp_path, monkeypatch, mode, why):
    if why == "too few steps":
        # The states that it got to are finite: only the solver's own word says that they are not the last.
        monkeypatch.setattr("score_sde.samplers.adaptive.MAX_STEPS", 1)
    else:
        # No step of any size is accepted: the solver need not try thousands.
        monkeypatch.setattr("score_sde.samplers.adaptive.MAX_STEPS", 32)
        monkeypatch.setattr(ProductMixtureScore, "__call__", lambda self, x, t: x * jnp.nan)
    config = small()
    sde = build_sde(config)
    built = mode.check(config, sde) or ()
    with pytest.raises(UserError, match=MODES[mode]):
        mode.run(config, sde, tmp_path, *built)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_one_anomaly_is_too_few(tmp_path):
    np.savez(tmp_path / "one.npz", images=np.zeros((1, 2, 2, 1), np.float32))
    config = small()
    config.likelihood.anomalies = str(tmp_path / "one.npz")
    with pytest.raises(UserError, match="has one image; an AUC needs two or more"):
        likelihood.run(config, build_sde(config), tmp_path)

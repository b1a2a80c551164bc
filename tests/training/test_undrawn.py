"""The note on times that are never drawn, against closed forms of their share of the weight."""

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import norm

from score_sde.configs.default import get_config
from score_sde.configs.vp_digits import get_config as digits_config
from score_sde.sde_lib import EDM, VE, VP, Linear
from score_sde.training import score_task
from score_sde.training.losses import build_loss
from score_sde.training.undrawn import drawn_range, say_undrawn, undrawn_share

EPS = 1e-5
FARTHEST = norm.isf(2.0**-24)  # in standard deviations


def loss_of(sde, **training):
    config = get_config()
    config.training.update(eps=EPS, **training)
    return config, build_loss(config, sde)


def test_the_share_of_a_constant_weight():
    """ln(t / (1 - t)) ~ N(.5, .6^2) ends 5.29 deviations from its mean; eps cuts off nothing."""
    law = {"times": "logit_normal", "logit_normal_mean": 0.5, "logit_normal_std": 0.6}
    _, loss = loss_of(Linear(), weighting="flow", **law)
    ends = expit(0.5 + 0.6 * FARTHEST * np.array([-1, 1]))
    np.testing.assert_allclose(drawn_range(loss.times), ends, rtol=1e-4)
    share = undrawn_share(loss.times, loss.weighting)
    assert share == pytest.approx(1 - (ends[1] - ends[0]) / (1 - EPS), abs=1e-5)


def test_the_share_is_that_of_the_weight():
    """The likelihood's weight on the straight path, 2 / (t (1 - t)), is uniform in ln(t / (1 - t)), of which N(0, 1) draws -5.29 to 5.29."""
    _, loss = loss_of(Linear(), weighting="likelihood", times="logit_normal")
    share = undrawn_share(loss.times, loss.weighting)
    length = logit(1 - 2.0**-10) - logit(EPS)
    assert share == pytest.approx(1 - 2 * FARTHEST / length, abs=5e-3)  # by quadrature


def test_what_is_said(capsys):
    said = {"times": "logit_normal", "logit_normal_std": 0.6}
    say_undrawn(*loss_of(Linear(), weighting="flow", **said))
    note = capsys.readouterr().err
    assert "never draws times before t=0.04 or after t=0.96, which have 8% of the weight" in note
    assert "a larger training.logit_normal_std" in note
    for sde, training in (
        (Linear(), {"weighting": "flow_logit_normal", **said}),  # the density itself
        (Linear(), {"weighting": "flow", "times": "logit_normal"}),  # 1 %
        (EDM(), {"weighting": "edm", "times": "log_normal", "log_normal_std": 0.6}),
        (VP(), {"weighting": "edm", "times": "log_normal"}),
        (VP(), {"weighting": "likelihood", "times": "log_snr"}),
        (VE(), {"continuous": False}),
    ):
        say_undrawn(*loss_of(sde, **training))
        assert not capsys.readouterr().err


def test_a_learned_uncertainty_takes_its_weights_from_the_density(capsys):
    config, loss = loss_of(EDM(), times="log_normal", log_normal_std=0.4)
    say_undrawn(config, loss)
    assert "of the weight" in capsys.readouterr().err
    config.training.learned_uncertainty = True
    say_undrawn(config, loss)
    assert not capsys.readouterr().err


class Stopped(Exception):
    pass


def test_training_says_it_before_the_first_update(monkeypatch, tmp_path, capsys):
    def stop(*_):
        raise Stopped

    monkeypatch.setattr(score_task, "train_task", stop)
    config = digits_config()
    config.training.update(times="logit_normal", weighting="noise", logit_normal_std=0.5)
    with pytest.raises(Stopped):
        score_task.train(config, tmp_path)
    assert "never draws times before t=" in capsys.readouterr().err

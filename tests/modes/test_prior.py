"""The note on a process that ends before the images have become noise."""

import dataclasses
import importlib
import math

import jax.numpy as jnp
import pytest

from score_sde.configs.default import get_config
from score_sde.configs.toy_mixture import get_config as toy_config
from score_sde.modes.prior import say_signal_left
from score_sde.sde_lib import SDE, SDES, VE, ScaledLinear, ShiftedCosine, build_sde


def test_it_states_the_log_snr_and_the_fields(capsys):
    """beta from 0.1 to 0.2 integrates to 0.15: alpha^2 = e^-0.15, and alpha^2 / sigma^2 = 1 / (e^0.15 - 1)."""
    config = get_config()
    config.sde.name = "vp"
    config.model.update(beta_min=0.1, beta_max=0.2)
    say_signal_left(build_sde(config))
    said = capsys.readouterr().err
    assert f"is still {-math.log(math.expm1(0.15)):.2f} (alpha = {math.exp(-0.075):.3g}," in said
    assert "model.beta_min, model.beta_max" in said
    say_signal_left(ShiftedCosine(log_snr_shift=20.0))  # from -15 at T to 5
    assert "is still 5.00" in capsys.readouterr().err


@dataclasses.dataclass(frozen=True)
class QuarterTurn(SDE):
    """A process of a user's own, whose alpha at T is -4e-8 in float32."""

    signal_end = 0.999

    def alpha(self, t):
        return jnp.cos(0.5 * math.pi * t)

    def sigma(self, t):
        return jnp.sin(0.5 * math.pi * t)


def test_a_process_without_signal_at_its_end_has_no_note(capsys):
    say_signal_left(QuarterTurn())
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", SDES)
def test_no_process_by_default_has_it(name, capsys):
    config = get_config()
    config.sde.name = name
    say_signal_left(build_sde(config))
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    "sde", [VE(0.01, 50.0), VE(0.01, 5.0), ScaledLinear(0.85, 12.0)], ids=lambda sde: str(sde)
)
def test_no_published_process_has_it(sde, capsys):
    say_signal_left(sde)
    assert not capsys.readouterr().err


class Stopped(Exception):
    pass


def stop(*_, **__):
    raise Stopped


STOPS = {"train": "train", "restore": "observe"}
"""What a mode's `run` calls soon after its note."""


@pytest.mark.parametrize(
    "name", ["train", "sample", "evaluate", "likelihood", "tradeoff", "restore"]
)
def test_modes_that_use_the_prior_say_it_first(name, monkeypatch, tmp_path, capsys):
    mode = importlib.import_module(f"score_sde.modes.{name}")
    config = toy_config()
    config.model.beta_max = 0.2
    config.training.snapshot_freq = 0
    monkeypatch.setattr(mode, STOPS.get(name, "load_score_model"), stop)
    if name == "evaluate":
        monkeypatch.setattr(mode, "load_splits", lambda *_: None)

    planned = ([],) if name == "tradeoff" else ()

    def said():
        with pytest.raises(Stopped):
            mode.run(config, build_sde(config), tmp_path, *planned)
        return capsys.readouterr().err

    assert "note: at T=1 the log-SNR of VP is still" in said()
    config.sampling.update(t_start=0.5, start_images="test")
    assert ("log-SNR" in said()) == (name not in ("sample", "evaluate"))

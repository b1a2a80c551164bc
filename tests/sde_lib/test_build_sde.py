"""Processes by name, and invalid parameters."""

import dataclasses
from types import SimpleNamespace

import pytest

from score_sde.errors import ConfigError
from score_sde.options import option
from score_sde.sde_lib import SDES, VE, VP, SubVP, build_sde


def config(name, **model):
    defaults = {"beta_min": 0.2, "beta_max": 9.0, "sigma_min": 0.03, "sigma_max": 7.0}
    return SimpleNamespace(
        sde=SimpleNamespace(name=name), model=SimpleNamespace(**(defaults | model))
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [("vp", VP(0.2, 9.0)), ("subvp", SubVP(0.2, 9.0)), ("ve", VE(0.03, 7.0))],
)
def test_a_process_reads_its_own_parameters(name, expected):
    assert build_sde(config(name)) == expected


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(
        ValueError, match=r"sde\.name='vpp' is unknown; choose one of vp, subvp, ve"
    ):
        build_sde(config("vpp"))


def test_a_process_can_be_registered(monkeypatch):
    class Steep(VP):
        pass

    monkeypatch.setitem(SDES, "steep", Steep)
    assert type(build_sde(config("steep"))) is Steep


def test_a_process_registered_after_the_configuration_was_made(monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Paced(VP):
        pace: float = option(2.0, "rate")

    monkeypatch.setitem(SDES, "paced", Paced)
    with pytest.raises(ConfigError, match="the config has no model.pace: start from"):
        build_sde(config("paced"))
    assert build_sde(config("paced", pace=3.0)) == Paced(0.2, 9.0, 3.0)


@pytest.mark.parametrize("name", ["vp", "subvp"])
@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 20.0), (-0.1, 20.0), (5.0, 4.0), (float("nan"), 1.0)]
)
def test_rates_are_positive_and_ascend(name, low, high):
    with pytest.raises(
        ValueError, match=rf"beta_min={low}, beta_max={high}: .* 0 < beta_min <= beta_max"
    ):
        build_sde(config(name, beta_min=low, beta_max=high))


@pytest.mark.parametrize(("low", "high"), [(0.0, 50.0), (-1.0, 50.0), (2.0, 2.0), (3.0, 2.0)])
def test_noise_levels_are_positive_and_ascend(low, high):
    with pytest.raises(
        ValueError, match=rf"sigma_min={low}, sigma_max={high}: .* sigma_min < sigma_max"
    ):
        build_sde(config("ve", sigma_min=low, sigma_max=high))


def test_published_defaults():
    assert VP() == VP(0.1, 20.0)
    assert SubVP() == SubVP(0.1, 20.0)
    assert VE() == VE(0.01, 50.0)
    assert VP() != SubVP()

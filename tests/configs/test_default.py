"""Every field states its meaning and range once; a value out of range is refused by its dotted name in every mode."""

import dataclasses
import math
import re
import subprocess
import sys
import types

import pytest
from ml_collections import ConfigDict

from score_sde.configs.default import check_options, get_config, sections
from score_sde.configs.digits import digits_config
from score_sde.errors import ConfigError
from score_sde.generation.generate import build_generator
from score_sde.likelihood.per_image import build_per_image
from score_sde.options import option, value_of
from score_sde.sde_lib import SDES, VP, build_sde
from score_sde.training.score_task import build_score_task

OPTIONS = {
    ".".join(filter(None, (section, name))): field
    for section, part in sections()
    for name, field in part.options().items()
}
OUTSIDE = [
    (name, value)
    for name, field in OPTIONS.items()
    if field.metadata["check"]
    for value in field.metadata["check"].outside
]


def leaves(config, prefix=""):
    for name, value in config.items():
        if hasattr(value, "items"):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def test_every_field_has_a_meaning_and_its_default_is_in_its_range():
    config = get_config()
    assert sorted(leaves(config)) == sorted(OPTIONS)
    assert all(field.metadata["what"] for field in OPTIONS.values())
    check_options(config)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        # Song & Dhariwal 2024, Table 1: iCT
        ("consistency.huber", 0.00054),
        ("consistency.first_intervals", 10),
        ("consistency.last_intervals", 1280),
        # Geng et al. 2025: MeanFlow on ImageNet
        ("mean_flow.ratio", 0.25),
        ("mean_flow.power", 1.0),
        # Karras et al. 2022, Table 1: EDM
        ("training.log_normal_mean", -1.2),
        ("training.log_normal_std", 1.2),
        ("model.sigma_data", 0.5),
        ("sampling.grid.rho", 7.0),
        # Hang et al. 2023: min-SNR
        ("training.min_snr", 5.0),
        # Saharia et al. 2022: dynamic thresholding in Imagen, at the percentile 99.5
        ("sampling.threshold_quantile", 0.995),
        # Kawar et al. 2022: DDRM
        ("restore.eta", 0.85),
        ("restore.eta_b", 1.0),
    ],
)
def test_defaults_of_methods_are_the_published(name, value):
    assert value_of(get_config(), name) == value


def test_no_extension_replaces_the_defaults_of_others(monkeypatch):
    """All processes and networks share config.model, so a second default of beta_min would be that of VP too."""

    @dataclasses.dataclass(frozen=True)
    class Slow(VP):
        beta_min: float = option(0.5, "rate at 0")

    @dataclasses.dataclass(frozen=True)
    class Paced(VP):
        pace: float = option(3.0, "rate")

    monkeypatch.setitem(SDES, "paced", Paced)
    assert get_config().model.pace == 3.0
    monkeypatch.setitem(SDES, "slow", Slow)
    words = "Slow.beta_min=0.5: config.model.beta_min is already an option, with the default 0.1; give it another name"
    with pytest.raises(ConfigError, match=f"^{re.escape(words)}$"):
        get_config()


@pytest.mark.parametrize(("name", "value"), OUTSIDE, ids=[f"{n}={v}" for n, v in OUTSIDE])
def test_a_value_outside_the_range_is_refused(name, value):
    config = get_config()
    parent, _, last = name.rpartition(".")
    section = value_of(config, parent)
    with section.ignore_type():
        section[last] = value
    with pytest.raises(ConfigError) as error:
        check_options(config)
    given = "|".join(re.escape(f"{name}={shown}") for shown in (repr(value), section[last]))
    assert re.match(f"({given})(: expected | is unknown; choose one of )", str(error.value))


WRONG_KINDS = {int: (True, 1.5), float: (True, "1"), bool: (1, None)}


@pytest.mark.parametrize(("section", "part"), list(sections()))
def test_a_truth_value_is_no_number_and_a_number_no_truth_value(section, part):
    """Given directly: a ConfigDict accepts True as an integer, and converts it to 1.0 in a float field."""
    defaults = dict(part.defaults().items())
    for name, default in defaults.items():
        for value in WRONG_KINDS.get(type(default), ()):
            given = types.SimpleNamespace(**{**defaults, name: value})
            with pytest.raises(ConfigError, match=re.escape(f"{name}={value!r}: expected ")):
                part.check_options(given, section)


BUILDERS = {
    "training": lambda config, sde: build_score_task(config, sde),
    "sampling": lambda config, sde: build_generator(config, sde, (8, 8, 1)),
    "likelihood": lambda config, sde: build_per_image(config, sde, 64),
}


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("optim.eps", math.inf),
        ("optim.lr", math.inf),
        ("optim.beta1", 1.5),
        ("optim.grad_clip", math.nan),
        ("sampling.ode.rtol", math.inf),
        ("likelihood.atol", math.inf),
    ],
)
def test_a_script_is_refused_it_too(build, name, value):
    """Each of these used to train or solve nothing, silently."""
    config = digits_config("vp")
    parent, _, last = name.rpartition(".")
    value_of(config, parent)[last] = value
    with pytest.raises(ConfigError, match=f"^{re.escape(f'{name}={value}')}: expected "):
        build(config, build_sde(config))


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
@pytest.mark.parametrize("eps", [0.0, -1e-3, 1.0, math.nan])
def test_a_last_time_that_is_none_is_refused(build, eps):
    config = digits_config("vp")
    for section in (config.training, config.sampling, config.likelihood):
        section.eps = eps
    with pytest.raises(ConfigError, match=f"eps={eps}: expected a time between 0 and T=1.0"):
        build(config, build_sde(config))


@pytest.mark.parametrize(
    ("section", "given", "words"),
    [
        ("sde", {}, "the config has no sde.name: start from"),
        ("sampling", {}, "the config has no sampling.sampler"),
        ("sampling.pc", {}, "the config has no sampling.pc.predictor"),
        ("sde", {"name": 3}, "sde.name=3: expected a text"),
    ],
)
def test_a_section_that_is_not_whole_is_refused(section, given, words):
    config = get_config()
    parent, _, last = section.rpartition(".")
    value_of(config, parent)[last] = ConfigDict(given)
    with pytest.raises(ConfigError, match=words):
        check_options(config)


def test_an_empty_list_is_answered_with_how_to_give_none():
    """As --config.sampling.labels= arrives, and as the answer does."""
    config = get_config()
    config.sampling.labels = ("",)
    with pytest.raises(ConfigError, match=r"expected integers, such as 0,1; give \(\) for none$"):
        check_options(config)
    config.sampling.labels = ()
    check_options(config)


@pytest.mark.parametrize("name", ["seed", "sampling.labels", "model.ch_mult"])
def test_integers_of_any_size_are_answered(name):
    """Integers with more digits than Python prints, or than a float can hold."""
    for size in (10**40, 10**400, 16**6000):
        config = get_config()
        given = size if name == "seed" else (1, size)
        config.update_from_flattened_dict({name: given})
        with pytest.raises(ConfigError, match=f"{name} is an integer of [0-9]+ bits"):
            check_options(config)


def test_numbers_that_may_be_infinite():
    config = get_config()
    assert config.sampling.edm.s_max == float("inf")
    config.sampling.edm.s_max = 50.0
    check_options(config)


def test_loading_a_configuration_starts_no_device_and_imports_no_solver():
    """The import must not initialize devices: jax.distributed has to come first, and flags are checked only after the import."""
    code = (
        "import sys; from score_sde.configs.vp_cifar import get_config; get_config(); import jax; "
        "from jax._src import xla_bridge; "
        "sys.exit(bool(xla_bridge._backends) or any(m in sys.modules for m in ('diffrax', 'orbax', 'optax')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_list_of_all_fields():
    command = [sys.executable, "-m", "score_sde.configs.default"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "--config.optim.lr=0.0002\n    learning rate\n" in listed
    assert len(listed.splitlines()) == 2 * len(OPTIONS)

"""Suggestions for mistyped names."""

import pytest

from score_sde.fields import known_fields
from score_sde.flag_table import MODES
from score_sde.nearest import did_you_mean, did_you_mean_field, nearest, nearest_fields
from score_sde.samplers.names import SAMPLERS, SECTIONS

LETTERS = "abcdefghijklmnopqrstuvwxyz_"


def slips(name):
    """A letter left out, doubled, exchanged for the next in the alphabet, or two in the wrong order."""
    for i, letter in enumerate(name):
        yield name[:i] + name[i + 1 :]
        yield name[:i] + letter + name[i:]
        other = LETTERS[(LETTERS.find(letter) + 1) % len(LETTERS)]
        yield name[:i] + other + name[i + 1 :]
        yield name[:i] + name[i + 1 : i + 2] + letter + name[i + 2 :]


def test_a_slip_in_a_mode_finds_it():
    """Except for a few, such as `eport`, which is as close to report as to export."""
    tried = [(slip, mode) for mode in MODES for slip in slips(mode) if slip not in MODES]
    assert sum(nearest(slip, MODES) != mode for slip, mode in tried) < 0.02 * len(tried)


def test_a_slip_in_a_fields_last_name_finds_the_field():
    """Except for a few, which are as close to another field."""
    fields = list(known_fields())
    tried = wrong = 0
    for field in fields:
        parent, dot, last = field.rpartition(".")
        for slip in list(slips(last))[::9]:
            typed = f"{parent}{dot}{slip}"
            if typed not in fields and len(slip) > 2:
                tried += 1
                wrong += field not in nearest_fields(typed, fields)
    assert tried > 800
    assert wrong < 0.02 * tried


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ("grid.name", "sampling.grid.name"),
        ("guidance.weight", "sampling.guidance.weight"),
        ("sampling.gird.name", "sampling.grid.name"),
        ("sampling.name", "sampling.grid.name"),
        ("sampling.model.nf", "model.nf"),
        ("lr", "optim.lr"),
        ("optim.learning_rate", None),
        ("training.batchsize", "training.batch_size"),
        ("training.batch-size", "training.batch_size"),
        ("Training.Batch_Size", "training.batch_size"),
        ("train.n_iters", "training.n_iters"),
        ("sampling.ode.num_step", "sampling.ode.num_steps"),
        ("qqqqq", None),
        ("", None),
        ("x" * 10_000, None),
    ],
)
def test_fields(typed, field):
    found = nearest_fields(typed, known_fields())
    assert (found[0] if found else None) == field


def test_a_name_of_several_sections_is_answered_with_some_of_them():
    assert nearest_fields("batch_size", ["a.x", "a.batch_size", "b.batch_size"]) == [
        "a.batch_size",
        "b.batch_size",
    ]
    words = did_you_mean_field("batch_size", ["a.batch_size", "b.batch_size"])
    assert words == "; did you mean --config.a.batch_size or --config.b.batch_size?"


def test_the_preferred_section_comes_first():
    """Of samplers' sections that all have `num_steps`, the chosen sampler's."""
    for section in SECTIONS.values():
        found = nearest_fields("sampling.num_steps", known_fields(), prefer=f"sampling.{section}")
        assert found[0] == f"sampling.{section}.num_steps"
    assert len(found) == 3
    found = nearest_fields("sampling.num_steps", known_fields(), prefer="optim")
    assert found == nearest_fields("sampling.num_steps", known_fields())


def test_beginnings_and_case():
    variants = ["fast", "likelihood", "conditional", "classifier"]
    assert nearest("cond", variants) == "conditional"
    assert nearest("UNIPC-3", SAMPLERS) == "unipc_3"
    assert nearest("zzz", variants) is None
    assert did_you_mean("likelyhood", variants) == "; did you mean likelihood?"
    assert did_you_mean("zzz", variants) == ""

"""The recorded config.json: which changes it refuses, permits or tracks, and that no field is forgotten."""

import contextlib
import errno
import hashlib
import json
import math
import os
from pathlib import Path

import pytest

from score_sde.configs.default import get_config
from score_sde.data.fingerprint import Fingerprint
from score_sde.errors import UserError
from score_sde.samplers.configured import SAMPLERS
from score_sde.samplers.exponential.methods import EXPONENTIAL as METHODS
from score_sde.sde_lib import build_sde
from score_sde.training import recorded_config
from score_sde.training.field_roles import ROLES, Role, role
from score_sde.training.judged_by import FIELDS_OF
from score_sde.training.recorded_config import (
    as_json,
    check_goes_on,
    check_learned_no_class,
    check_recorded,
    check_same_run,
    fields,
    read_config,
    record_config,
)
from score_sde.training.replay import check_same_updates
from score_sde.training.trained_score import load_score_model
from score_sde.version import made_by

FIELDS = dict(fields(as_json(get_config())))
# Sections no field of which training remembers.
WHOLE = {name for name, of in ROLES.items() if of is Role.FREE and "." not in name}


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_has_a_role(name):
    assert name in ROLES or name.partition(".")[0] in WHOLE, (
        "say in training/recorded_config.py what another value of this field does to a folder"
    )


def test_no_role_is_of_a_field_that_is_gone():
    sections = {name.partition(".")[0] for name in FIELDS}
    assert set(ROLES) <= set(FIELDS) | sections | {"dataset"}


def test_what_a_users_network_adds_is_for_the_weights():
    assert role("model.my_width") is Role.WEIGHTS


def changed(**values):
    config = get_config()
    config.update_from_flattened_dict(values)
    return config


def another(value):
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return f"{value}x" if isinstance(value, str) else (*value, *value, 1)


def test_height_and_width_come_back_from_the_file(tmp_path):
    record_config(changed(**{"data.image_width": 12}), tmp_path, None)
    found = read_config(tmp_path)
    assert found.data.image_width == 12
    record_config(found, tmp_path, 300)
    with pytest.raises(UserError, match=r"data.image_width=0 \(trained with 12\)"):
        check_recorded(get_config(), tmp_path)


def strictly(text):
    """Parsed as other programs do, for which Infinity is no JSON."""

    def refused(constant):
        raise ValueError(constant)

    return json.loads(text, parse_constant=refused)


@pytest.mark.parametrize("written_by", ["this version", "an older one"])
def test_infinite_numbers_are_json_and_come_back(tmp_path, written_by):
    """Older files have Python's words for them; neither is a change when the run goes on."""
    config = changed(**{"model.sigma_max": math.inf, "sampling.text": "inf"})
    record_config(config, tmp_path, None)
    path = tmp_path / "config.json"
    found = strictly(path.read_text())
    assert found["sampling"]["guidance"]["log_snr_low"] == "-inf"
    if written_by == "an older one":
        numbers = path.read_text().replace('"-inf"', "-Infinity").replace('"inf"', "Infinity")
        path.write_text(numbers.replace('"text": Infinity', '"text": "inf"'))
    read = read_config(tmp_path)
    assert read.to_dict() == config.to_dict()
    assert (read.sampling.edm.s_max, read.model.sigma_max) == (math.inf, math.inf)
    assert record_config(config, tmp_path, 10) == []
    config.optim.lr = 1.0  # the file is written again
    assert record_config(config, tmp_path, 20) == ["optim.lr"]
    strictly(path.read_text())
    assert read_config(tmp_path).sampling.guidance.norm == math.inf


def test_a_field_that_no_config_has_is_no_difference(tmp_path):
    """Such as one that was mistyped in a file and accepted."""
    config = get_config()
    config.model.drpout = 0.7
    record_config(config, tmp_path, None)
    check_recorded(read_config(tmp_path), tmp_path)


def test_a_section_takes_all_of_another_configs():
    config, other = get_config(), changed(**{"data.image_width": 12, "data.name": "mixture"})
    config.data.update(other.data)
    assert config.data == other.data


@pytest.mark.parametrize("name", [name for name in FIELDS if role(name) is not Role.FREE])
def test_another_value_is_refused_or_recorded(tmp_path, name, capsys):
    record_config(get_config(), tmp_path, None)
    before = get_config()
    for part in name.split("."):
        before = before[part]
    config = changed(**{name: another(before)})
    if role(name) is Role.MAY_CHANGE:
        record_config(config, tmp_path, 300)
        assert f"from step 300 on: {name}={another(before)!r} (before: {before!r})" in (
            capsys.readouterr().err
        )
        kept = json.loads((tmp_path / "config.json").read_text())
        assert dict(fields(kept))[name] == another(before)
        assert kept["changes"] == [
            {"step": 300, "field": name, "from": before, "to": another(before)}
        ]
        check_recorded(get_config(), tmp_path)
    else:
        with pytest.raises(UserError) as error:
            record_config(config, tmp_path, 300)
        assert f"{name}=" in str(error.value)
        assert "(trained with " in str(error.value)
        assert "--workdir; training.init_from=" in str(error.value)
        assert kept_config(tmp_path) == as_json(get_config())
    if role(name) is Role.WEIGHTS:
        with pytest.raises(UserError, match=f"{name}="):
            check_recorded(config, tmp_path)
    else:
        check_recorded(config, tmp_path)


def test_the_step_that_a_command_chose_is_not_the_next_ones(tmp_path):
    """Also for files of older versions that contain it."""
    record_config(changed(checkpoint_step=5), tmp_path, 5)
    assert kept_config(tmp_path)["checkpoint_step"] == 0
    (tmp_path / "config.json").write_text(json.dumps(as_json(changed(checkpoint_step=5))))
    assert read_config(tmp_path).checkpoint_step == 0


@pytest.mark.parametrize("by", ["frechet", "frechet_limit"])
def test_distances_by_which_checkpoints_are_compared_stay_the_same(tmp_path, by):
    """Other fields may change, and these too if nothing is compared by them or nothing was measured."""
    kept = {"training.keep_best": 1, "training.keep_best_by": by, "training.quality_freq": 10}
    record_config(changed(**kept), tmp_path, None)
    other = {"evaluation.features": "classifier", "training.quality_images": 500}
    for refuse in (
        lambda config: record_config(config, tmp_path, 10),
        lambda config: check_goes_on(config, tmp_path),
    ):
        with pytest.raises(UserError) as error:
            refuse(changed(**kept, **other))
        words = f"by={by!r}, which was measured with different settings: evaluation.features='classifier' ('pixels'), training.quality_images=500 (1000)"
        assert words in str(error.value)
    check_same_run(changed(**kept, **other), tmp_path)  # to replay or export it
    record_config(changed(**kept, **{"sampling.num_images": 7}), tmp_path, 10)
    record_config(changed(**other), tmp_path, 20)
    record_config(changed(**kept, **other), tmp_path, 30)


@pytest.mark.parametrize(
    ("base", "field", "value", "counts"),
    [
        ({}, "sampling.pc.num_steps", 100, True),
        ({}, "sampling.exponential.num_steps", 100, False),
        ({"sampling.sampler": "ddim"}, "sampling.exponential.num_steps", 100, True),
        ({"sampling.sampler": "ddim"}, "sampling.snr", 0.3, False),
        ({}, "sampling.grid.name", "quadratic", True),
        ({}, "sampling.guidance.weight", 1.0, True),
        ({}, "sampling.batch_size", 7, False),
        ({"training.quality_steps": 10}, "sampling.sampler", "ddim", False),
        ({"training.quality_steps": 10}, "sampling.exponential.num_steps", 100, False),
        ({"training.quality_steps": 10}, "sampling.eps", 0.01, True),
        ({"model.condition_image": "measured"}, "condition.images", "train", True),
        ({"model.condition_image": "measured"}, "condition.cascade", "small", True),
        ({"model.condition_image": "measured"}, "condition.noise", 0.1, True),
        ({}, "condition.images", "train", False),
    ],
)
def test_distances_are_compared_if_they_are_of_samples_drawn_alike(
    tmp_path, base, field, value, counts
):
    """Compared by the sampler that draws them, whose steps training.quality_steps replaces."""
    base = base | {"training.keep_best": 1, "training.keep_best_by": "frechet"}
    base |= {"training.quality_freq": 10}
    record_config(changed(**base), tmp_path, None)
    refused = pytest.raises(UserError, match=f"measured with different settings: {field}=")
    with refused if counts else contextlib.nullcontext():
        check_goes_on(changed(**base, **{field: value}), tmp_path)


def test_every_sampler_has_its_fields():
    assert set(FIELDS_OF) | set(METHODS) == set(SAMPLERS)
    assert not set(FIELDS_OF) & set(METHODS)


@pytest.mark.parametrize(
    ("section", "recorded", "now", "other"),
    [
        ("model", {"told_interval": True}, {"model.condition_interval": True}, {}),
        ("data", {"crop_size": 140, "resize": False}, {}, {"data.crop_size": 140}),
        ("data", {"pad": 2, "resize": True}, {"data.name": "shapes"}, {"data.pad": 1}),
    ],
    ids=["a field's name of before", "a crop that was ignored", "a border of drawn images"],
)
def test_a_folder_of_before_goes_on(tmp_path, section, recorded, now, other):
    """A field recorded under an older name, or one that did not exist, is no difference; another value still is."""
    config = changed(**now)
    record_config(config, tmp_path, None)
    kept = json.loads((tmp_path / "config.json").read_text())
    kept[section].pop("condition_interval", None)
    kept[section] |= recorded
    (tmp_path / "config.json").write_text(json.dumps(kept))
    check_goes_on(config, tmp_path)
    check_recorded(config, tmp_path)
    assert as_json(read_config(tmp_path)) == as_json(config)
    with pytest.raises(UserError, match="interval=False .trained with True|crop_size=140|pad=1"):
        check_same_run(changed(**other), tmp_path)
    record_config(config, tmp_path, 7)
    assert "changes" not in json.loads((tmp_path / "config.json").read_text())


def test_the_last_time_is_a_part_of_a_consistency_model(tmp_path):
    task = {"training.task": "consistency"}
    record_config(changed(**task), tmp_path, None)
    with pytest.raises(UserError, match=r"training.eps=0.25 \(trained with"):
        check_recorded(changed(**task, **{"training.eps": 0.25}), tmp_path)


def test_no_command_can_claim_a_score_without_classes_that_was_not_learned(tmp_path):
    """Guidance by it would be by a vector that no update has touched. A network without conditions has no such vector."""
    classes = {"model.num_classes": 10}
    claimed = changed(**classes, **{"training.label_dropout": 0.1})
    message = r"training.label_dropout=0.1 \(trained with 0.0\)"
    record_config(get_config(), tmp_path, None)
    check_learned_no_class(changed(**{"training.label_dropout": 0.1}), tmp_path)
    (tmp_path / "config.json").unlink()
    record_config(changed(**classes), tmp_path, None)
    with pytest.raises(UserError, match=message):
        check_learned_no_class(claimed, tmp_path)
    with pytest.raises(UserError, match=message):
        load_score_model(claimed, build_sde(claimed), tmp_path)
    # Adapters may have been trained without, on weights that were trained with it.
    check_recorded(claimed, tmp_path)
    check_learned_no_class(changed(**classes), tmp_path)
    (tmp_path / "config.json").unlink()
    record_config(changed(**classes, **{"training.label_dropout": 0.2}), tmp_path, None)
    for rate in (0.0, 0.1):
        check_learned_no_class(changed(**classes, **{"training.label_dropout": rate}), tmp_path)
    check_learned_no_class(claimed, tmp_path / "unrecorded")


def test_a_folder_older_than_label_dropout_was_trained_without(tmp_path):
    record_config(changed(**{"model.num_classes": 10}), tmp_path, None)
    kept = json.loads((tmp_path / "config.json").read_text())
    del kept["training"]["label_dropout"]
    (tmp_path / "config.json").write_text(json.dumps(kept))
    with pytest.raises(UserError, match="training.label_dropout=0.1"):
        check_learned_no_class(
            changed(**{"model.num_classes": 10, "training.label_dropout": 0.1}), tmp_path
        )


def kept_config(folder):
    """Without what made it."""
    kept = json.loads((folder / "config.json").read_text())
    assert kept.pop("made_by") == made_by()
    return kept


def test_a_run_keeps_the_version_with_which_it_began(tmp_path, monkeypatch):
    """Resuming with another version changes nothing; nothing is stated for a folder older than recorded versions."""
    config = get_config()
    began = {"version": "1.0.0", "commit": None}
    monkeypatch.setattr(recorded_config, "made_by", lambda: began)
    record_config(config, tmp_path, None)
    monkeypatch.setattr(recorded_config, "made_by", lambda: {"version": "2.0.0", "commit": "a"})
    record_config(config, tmp_path, 10)
    kept = json.loads((tmp_path / "config.json").read_text())
    assert kept.pop("made_by") == began
    assert "changes" not in kept
    check_recorded(config, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(kept))
    record_config(changed(**{"optim.lr": 1e-3}), tmp_path, 20)
    assert "made_by" not in json.loads((tmp_path / "config.json").read_text())


def test_images_that_changed_are_said(tmp_path, capsys):
    """A change in their number or only in their files; nothing is reported for a folder older than this record."""
    record_config(get_config(), tmp_path, None)
    for step, images in (
        (10, Fingerprint(7, "a")),
        (20, Fingerprint(7, "a")),
        (30, Fingerprint(7, "b")),
    ):
        record_config(get_config(), tmp_path, step, images)
    kept = json.loads((tmp_path / "config.json").read_text())
    assert kept["dataset"] == {"num_images": 7, "hash": "b"}
    assert kept["changes"] == [{"step": 30, "field": "dataset.hash", "from": "a", "to": "b"}]
    assert "from step 30 on: dataset.hash='b' (before: 'a')" in capsys.readouterr().err
    assert as_json(read_config(tmp_path)) == as_json(get_config())


def test_a_folder_of_before_what_is_drawn_was_known_goes_on(tmp_path):
    """Its record has the hash of nothing. After resuming, changed images are reported."""
    nothing = hashlib.sha256(b"").hexdigest()[:32]
    record_config(get_config(), tmp_path, None, Fingerprint(7, nothing))
    check_same_updates(get_config(), tmp_path, Fingerprint(7, "a"), 1)
    record_config(get_config(), tmp_path, 10, Fingerprint(7, "a"))
    assert kept_config(tmp_path)["dataset"] == {"num_images": 7, "hash": "a"}
    assert "changes" not in kept_config(tmp_path)
    record_config(get_config(), tmp_path, 20, Fingerprint(7, "b"))
    assert kept_config(tmp_path)["changes"] == [
        {"step": 20, "field": "dataset.hash", "from": "a", "to": "b"}
    ]


def test_changes_add_up_and_nothing_changes_twice(tmp_path):
    record_config(get_config(), tmp_path, None)
    for step, rate in ((10, 1e-3), (20, 1e-3), (30, 1e-4)):
        record_config(changed(**{"optim.lr": rate}), tmp_path, step)
    kept = json.loads((tmp_path / "config.json").read_text())["changes"]
    assert [(change["step"], change["from"], change["to"]) for change in kept] == [
        (10, 2e-4, 1e-3),
        (30, 1e-3, 1e-4),
    ]
    assert read_config(tmp_path).optim.lr == 1e-4


def test_steps_that_come_again_forget_what_had_changed_in_them(tmp_path):
    """After going back from 1000 to 300, updates 300 to 500 use another rate; once more from 300, the first again."""
    a, b = get_config(), changed(**{"optim.lr": 1e-3})
    for config, step in ((a, None), (b, 500), (a, 700), (b, 300)):
        record_config(config, tmp_path, step)
    change = {"field": "optim.lr", "from": 2e-4, "to": 1e-3}
    assert kept_config(tmp_path)["changes"] == [{"step": 300, **change}]
    record_config(b, tmp_path, 400)
    assert kept_config(tmp_path)["changes"] == [{"step": 300, **change}]
    record_config(a, tmp_path, 300)
    assert kept_config(tmp_path) == as_json(a)


def test_a_run_keeps_what_it_began_with(tmp_path, capsys):
    began = {"training.init_from": "runs/a"}
    record_config(changed(**began), tmp_path, None)
    for later in ("", "runs/a"):
        record_config(changed(**{"training.init_from": later}), tmp_path, 10)
        assert kept_config(tmp_path) == as_json(changed(**began))
    assert capsys.readouterr().err == ""
    record_config(changed(**{"training.init_from": "runs/b"}), tmp_path, 20)
    assert kept_config(tmp_path) == as_json(changed(**began))
    said = "ignoring training.init_from='runs/b': the run resumes, and was started from runs/a"
    assert said in capsys.readouterr().err


def test_a_damaged_list_of_changes_is_named(tmp_path):
    record_config(get_config(), tmp_path, None)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "changes": [{"step": "x"}]}))
    with pytest.raises(UserError, match="list 'changes' in the folder's config.json is damaged"):
        record_config(get_config(), tmp_path, 10)


def test_without_a_checkpoint_an_earlier_record_means_nothing(tmp_path):
    """A run that was ended by a full disk or a signal before its first checkpoint."""
    for text in ("", json.dumps(as_json(changed(seed=7)))):
        (tmp_path / "config.json").write_text(text)
        record_config(get_config(), tmp_path, None)
        assert kept_config(tmp_path) == as_json(get_config())


def test_a_record_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    """Nothing is wrong with the file, so nobody is told to remove it."""
    record_config(get_config(), tmp_path, None)

    def refuse(self):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    for read in (read_config, lambda folder: check_recorded(get_config(), folder)):
        with pytest.raises(UserError, match=r"cannot be read \(Permission denied\)") as error:
            read(tmp_path)
        assert "remove" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        "\0\0",
        "\xff\xfe",
        '{"changes": 3}',
        '{"model": {"nf": "wide"}}',
        '{"model": 3}',
    ],
)
def test_a_damaged_record_is_named(tmp_path, text):
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"config.json is damaged .*put back a copy"):
        read_config(tmp_path)
    if "model" not in text:
        for read in (check_recorded, lambda *given: record_config(*given, 300)):
            with pytest.raises(UserError, match="config.json is damaged"):
                read(get_config(), tmp_path)

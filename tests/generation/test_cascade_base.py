"""Which settings of a command the smaller network of a cascade draws with."""

import pytest

from score_sde.generation.cascade import base_config
from score_sde.measurements.condition_image import build_condition_image
from tests.generation.test_conditions_of_samples import cascade


@pytest.mark.parametrize(
    "fields",
    [{"guidance.weight": 2.0, "guidance.rescale": 0.5}, {"labels": (1,)}],
    ids=["guidance", "labels"],
)
def test_guidance_and_classes_are_of_the_larger_network(tmp_path, monkeypatch, fields):
    """The smaller one, which knows no classes, draws as without them."""
    config = cascade(tmp_path, monkeypatch)
    config.model.num_classes = 3
    maker = build_condition_image(config)
    without = base_config(config, maker).to_json()
    config.sampling.update_from_flattened_dict(fields)
    assert base_config(config, maker).to_json() == without

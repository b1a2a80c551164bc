"""Intersection over union by hand, and for samples of a network that knows the masks."""

import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import segmentation
from benchmarks.segmentation import in_words, most_frequent, overlaps
from score_sde.configs.vp_shapes import get_config
from score_sde.errors import UserError
from score_sde.models.networks import NETWORKS
from score_sde.sde_lib import VP
from score_sde.training.score_task import train


def test_overlaps():
    """Intersections and unions counted by hand."""
    truth, found = np.array([[0, 0, 1, 2]]), np.array([[0, 1, 1, 3]])
    expected = {"background": 1 / 2, "disc": 1 / 2, "square": 0.0}
    assert overlaps(found, truth) == expected
    assert in_words({"one": expected}).endswith("square 0.0000  mean 0.3333")
    drawn = np.array([[0, 1, 2, 3], [0, 1, 1, 3], [2, 2, 2, 1]])
    np.testing.assert_array_equal(most_frequent(drawn), [0, 1, 2, 1])


class Threshold(nn.Module):
    """Sees every shape as a disc: the mask that it predicts, x_0, has the first bit where the picture is bright."""

    from_config = classmethod(lambda cls, config: cls())
    conditions = staticmethod(lambda config: ("paired",))
    null_condition = staticmethod(lambda condition: jax.tree.map(jnp.zeros_like, condition))

    @nn.compact
    def __call__(self, x, noise_input, condition=(), dropout_keys=None):
        nothing = self.param("nothing", nn.initializers.zeros, ())
        image = condition["image"] if condition else x[..., :1]
        bits = [jnp.where(jnp.abs(image - 0.7255) < 1e-3, 1.0, -1.0), -jnp.ones_like(image)]
        t = noise_input / 999.0
        alpha, sigma = (f(t)[:, None, None, None] for f in (VP().alpha, VP().sigma))
        x0 = jnp.concatenate(bits, axis=-1)
        eps = (x - alpha * x0) / sigma
        return nothing + alpha * eps - sigma * x0


def test_the_command(tmp_path, monkeypatch, capsys):
    """With a network that knows each picture by its place and takes all shapes for discs: discs are found and squares are not."""
    monkeypatch.setitem(NETWORKS, "threshold", Threshold)
    config = get_config()
    config.model.name = "threshold"
    config.optim.lr = 1e-12
    config.sampling.exponential.num_steps = 2
    config.sampling.batch_size = 16
    config.training.update(n_iters=1, batch_size=8, eval_freq=0)
    train(config, tmp_path)
    found = segmentation.main(["--workdir", str(tmp_path), "--images", "70", "--draws", "1"])
    out = capsys.readouterr().out
    assert "one draw: intersection over union  background 1.0000" in out
    one = found["one draw"]
    assert one["background"] > 0.999
    assert one["square"] == 0.0
    assert 0.2 < one["disc"] < 0.7
    assert found["most frequent of 1"] == one
    for flags, words in (
        (["--images", "257"], "--images 257: expected 1 to 256"),
        (["--draws", "0"], "--draws 0: expected 1"),
    ):
        with pytest.raises(UserError, match=words):
            segmentation.main(["--workdir", str(tmp_path), *flags])
    assert json.loads((tmp_path / "config.json").read_text())["data"]["name"] == "shapes"

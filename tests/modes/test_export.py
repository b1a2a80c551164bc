"""--mode export: low-rank updates as one small file accepted by any mode; and the message about averages a format cannot hold."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs import subvp_digits
from score_sde.configs.digits import digits_config
from score_sde.errors import ConfigError, UserError
from score_sde.models.networks import NETWORKS
from score_sde.modes import export_checkpoint, import_checkpoint
from score_sde.sde_lib import build_sde
from score_sde.training.adapters import ages_of_adapters, read_adapter
from score_sde.training.checkpoints import Checkpoints
from score_sde.training.folder_weights import keep_base
from score_sde.training.optimizer import build_optimizer
from score_sde.training.recorded_config import record_config
from score_sde.training.state import first_state
from tests.training.flat_network import Flat, flat_config, random_weights


def test_the_file_is_the_average_with_its_alpha(tmp_path, monkeypatch):
    """Read back it gives A, B and alpha / r; the format for networks without a published form."""
    monkeypatch.setitem(NETWORKS, "flat", Flat)
    config, sde = flat_config(), build_sde(flat_config())
    config.training.init_from = "somewhere"
    config.training.lora.update(rank=1, alpha=3.0)
    export_checkpoint.check(config, sde)
    A, B = jnp.arange(4.0).reshape(4, 1), jnp.ones((1, 4))
    averaged = {"Dense_0": {"kernel": {"A": A, "B": B}}}
    newest = jax.tree.map(lambda leaf: leaf + 1, averaged)
    state = first_state(newest, build_optimizer(config)).replace(ema_params=averaged)
    folder = tmp_path / "threes"
    folder.mkdir()
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(5, state.replace(step=jnp.int32(5)))
    record_config(config, folder, None)
    keep_base(folder, random_weights(0))
    figures = export_checkpoint.run(config, sde, folder)
    path = folder / "export" / "threes_5.npz"
    assert (figures["file"], figures["step"], figures["parameters"]) == (str(path), 5, 8)
    found, scale = read_adapter(config, str(path), random_weights(0))
    jax.tree.map(np.testing.assert_array_equal, found, averaged)
    assert scale == 3.0
    config.adapters = f"{path},{folder}"
    of_file, of_folder = ages_of_adapters(config)
    (about,) = (folder / "checkpoints").glob("*/about.json")
    os.utime(about, (of_folder + 100, of_folder + 100))  # as of weights trained again
    assert ages_of_adapters(config) == [of_file, pytest.approx(of_folder + 100, abs=0.01)]
    assert of_file == path.stat().st_mtime
    with pytest.raises(ConfigError, match="for --mode export merge them into the weights first"):
        export_checkpoint.check(config, sde)
    config.adapters = ""
    with pytest.raises(UserError, match="exists already"):
        export_checkpoint.run(config, sde, folder)
    config.training.lora.alpha = 1.0
    with pytest.raises(UserError, match="training.lora.alpha=1.0 .trained with 3.0."):
        export_checkpoint.run(config, sde, folder)


@pytest.mark.parametrize(
    ("mode", "rank"), [(export_checkpoint, 0), (export_checkpoint, 4), (import_checkpoint, 0)]
)
def test_a_consistency_model_has_weights_too(mode, rank):
    """Though no score, without which measurements refuse it."""
    config = subvp_digits.get_config("consistency")
    config.model.update(nf=8, ch_mult=(1,), num_res_blocks=1, attn_resolutions=())
    config.training.lora.rank = rank
    mode.check(config, build_sde(config))


def test_another_average_than_the_files_rate_is_said(tmp_path, monkeypatch):
    """A PyTorch checkpoint can only hold the average of constant rate."""
    found = export_checkpoint.Exported("checkpoint_{}.pth", 3, (), lambda path: path.touch())
    monkeypatch.setattr(export_checkpoint, "checkpoint_of", lambda config, workdir: found)
    config = digits_config("vp")
    assert "note" not in export_checkpoint.run(config, build_sde(config), tmp_path)
    config.ema_sigma_rel = 0.1
    figures = export_checkpoint.run(config, build_sde(config), tmp_path)
    assert figures["file"].endswith("checkpoint_3-ema0.1.pth")
    assert figures["ema_sigma_rel"] == 0.1
    assert "average has the width 0.1, but the file states the rate 0.995" in figures["note"]

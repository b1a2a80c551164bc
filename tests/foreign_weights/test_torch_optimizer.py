"""The optimizer's settings in an exported checkpoint of the published layout, as torch.optim.Adam reads them."""

import pytest

from score_sde.foreign_weights.torch_checkpoint import contents_of


@pytest.mark.parametrize(("step", "lr"), [(0, 0.0), (1, 0.0), (3, 2e-3 / 50)])
def test_the_group_has_the_settings_of_the_last_update(record, network, config, step, lr):
    """Within a warm-up of 100 updates to .002, of which the first has the rate 0."""
    config.optim.update(lr=2e-3, warmup=100, beta1=0.8, beta2=0.95, eps=1e-6, weight_decay=0.01)
    contents = contents_of(record._replace(step=step), network, config)
    (group,) = contents["optimizer"]["param_groups"]
    assert group["lr"] == pytest.approx(lr, rel=1e-6)
    assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.8, 0.95), 1e-6, 0.01)

"""EDM's U-Net after ADM (Karras et al. 2022, App. F.2; models/adm.py).

Compared with ADM it has fewer biases, no attention at narrow levels, and two blocks at the start of the decoder in place
of the middle blocks.
"""

from __future__ import annotations

from typing import Any, ClassVar

import flax.linen as nn

from score_sde.errors import ConfigError
from score_sde.models import layers
from score_sde.models.edm_blocks import DHARIWAL, Style
from score_sde.models.edm_network import EDMNetwork
from score_sde.models.embeddings import time_features
from score_sde.shapes import PerImage


class EDMADM(EDMNetwork):
    """EDM's ADM. As published, features with fewer than `head_channels` channels have no attention, even where configured."""

    head_channels: int = 64

    STYLE: ClassVar[Style] = DHARIWAL

    def check_fits(self) -> None:
        super().check_fits()
        widths = [self.nf * mult for mult in self.ch_mult]
        if not self.head_channels or any(
            width % max(width // self.head_channels, 1) for width in widths
        ):
            raise ConfigError(
                f"model.head_channels={self.head_channels} does not split the levels' {widths} channels into equal heads; use a divisor, such "
                "as 64"
            )

    def _embedding(self, noise_input: PerImage, condition: Any) -> layers.Features:
        features, width = self.nf * self.noise_mult, self.nf * self.emb_mult
        level = time_features(noise_input, features)
        if self.augment_dim:
            augmentation = self._augmentation(condition, len(level))
            of_augmentation = nn.Dense(
                features, use_bias=False, kernel_init=nn.initializers.zeros, name="map_augment"
            )
            level = level + of_augmentation(augmentation)
        level = self._linear(width, "map_layer1")(nn.silu(self._linear(width, "map_layer0")(level)))
        if self.num_classes:
            of_class = nn.Dense(
                width, use_bias=False, kernel_init=nn.initializers.normal(1.0), name="map_label"
            )
            level = level + of_class(self._classes(condition, level))
        return nn.silu(level)

    def _heads(self, channels: int) -> int:
        return channels // self.head_channels

    def _attends_up(self, h: layers.Other, block: int) -> bool:
        return self.attends(h)

    @property
    def _last(self) -> tuple[str, str]:
        return "out_norm", "out_conv"

    @property
    def _first_width(self) -> int:
        return self.nf * self.ch_mult[0]

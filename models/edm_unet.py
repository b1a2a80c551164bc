"""EDM's U-Net after Song et al. 2021 (Karras et al. 2022, App. F.1).

By default it is DDPM++; with `fir`, a residual input pyramid and Fourier features it is NCSN++. They differ from those of
models/ncsnpp.py: fewer blocks attend, all levels share one width of 256 channels, and the noise level and the class are
embedded differently.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import flax.linen as nn

from score_sde.models import layers, resample
from score_sde.models.adm_blocks import conv
from score_sde.models.edm_blocks import SONG, Style, resampled
from score_sde.models.edm_network import EDMNetwork
from score_sde.models.embeddings import GaussianFourierProjection, positional_embedding
from score_sde.shapes import PerImage


class EDMUNet(EDMNetwork):
    """EDM's DDPM++ and NCSN++. Attention has one head; in the decoder only the last block of a level has attention."""

    # Options that ncsnpp declares.
    fir: bool = False
    fir_kernel: tuple[int, ...] = (1, 3, 3, 1)
    progressive_input: str = "none"
    embedding_type: str = "positional"
    fourier_scale: float = 16.0

    STYLE: ClassVar[Style] = SONG

    def _embedding(self, noise_input: PerImage, condition: Any) -> layers.Features:
        features, width = self.nf * self.noise_mult, self.nf * self.emb_mult
        if self.embedding_type == "fourier":
            level = GaussianFourierProjection(features // 2, self.fourier_scale)(noise_input)
        else:
            level = positional_embedding(noise_input, features)
        if self.num_classes:
            classes = self._classes(condition, level) * math.sqrt(self.num_classes)
            level = level + self._linear(features, "map_label")(classes)
        if self.augment_dim:
            augmentation = self._augmentation(condition, len(level))
            level = level + self._linear(features, "map_augment", False)(augmentation)
        level = nn.silu(self._linear(width, "map_layer0")(level))
        return nn.silu(self._linear(width, "map_layer1")(level))

    def _taken_in(
        self, h: layers.Image, pyramid: layers.Other, name: str
    ) -> tuple[layers.Image, layers.Other]:
        """Add the halved pyramid to the features: by a 1x1 convolution (input_skip), or so that the sum becomes the pyramid (residual)."""
        if self.progressive_input == "none":
            return h, pyramid
        if self.progressive_input == "input_skip":
            pyramid = resampled(pyramid, "down", self._taps)
            joined = conv(h.shape[-1], f"{name}_aux_skip", 1, SONG.first, self._dtype)(pyramid)
            return h + joined, pyramid

        def halved(x: layers.Image, kernel: Any) -> layers.Other:
            return resample.conv_downsample_2d(x, kernel, self._taps)

        layer = layers.Conv2d(h.shape[-1], self._dtype, name=f"{name}_aux_residual")
        joined = (h + layer(pyramid, halved)) * SONG.skip_scale
        return joined, joined

    def _resampling(self) -> list[str]:
        layer = {"residual": "aux_residual", "input_skip": "aux_down"}.get(self.progressive_input)
        pyramid = range(1, len(self.ch_mult)) if layer else ()
        return super()._resampling() + [f"enc.{self._side(number)}_{layer}" for number in pyramid]

    def _heads(self, channels: int) -> int:
        return 1

    def _attends_up(self, h: layers.Other, block: int) -> bool:
        return block == self.num_res_blocks and self.attends(h)

    @property
    def _last(self) -> tuple[str, str]:
        name = f"dec_{self._side(0)}_aux"
        return f"{name}_norm", f"{name}_conv"

    @property
    def _first_width(self) -> int:
        return self.nf

    @property
    def _taps(self) -> tuple[int, ...]:
        return self.fir_kernel if self.fir else (1, 1)

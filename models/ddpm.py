"""The network of DDPM (Ho et al. 2020), as used by Song et al. 2021.

The U-Net of `models/ncsnpp.py` without its improvements: 32 groups in every norm, plain residual sums, naive
resampling between the blocks, no pyramids, and always a positional embedding.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from score_sde.models import blocks, layers
from score_sde.models.conditions import with_class
from score_sde.models.embeddings import positional_embedding, sigma_of_label
from score_sde.models.network import DTYPES
from score_sde.models.unet import ScoreUNet
from score_sde.shapes import Array, Keys, PerImage

Image = layers.Image

_GROUPS = 32


class DDPM(ScoreUNet):
    """The score network of Ho et al. 2020, with the options of `ScoreUNet` and no others."""

    def check_fits(self) -> None:
        super().check_fits()
        for mult in (1, *self.ch_mult):
            layers.num_groups(self.nf * mult, _GROUPS)

    @nn.compact
    def __call__(
        self,
        x: Image,
        noise_input: Array,
        condition: Any = (),
        dropout_keys: Keys | None = None,
    ) -> Image:
        """The raw output of the network; arguments and result as in `NCSNpp.__call__`.

        `noise_input` is a time label, roughly in 0 ... 1000.
        """
        x, noise_input = self.inputs(x, noise_input, condition)
        keys = layers.layer_keys(dropout_keys, self.dropout)

        temb = self._embedding(noise_input) if self.conditional else None
        temb = with_class(temb, condition, self.num_classes)
        temb = self.with_levels(temb, condition)
        h = layers.conv3x3(self.nf, dtype=self._dtype)(x if self.centered else 2 * x - 1)
        skips = [h]
        for level, mult in enumerate(self.ch_mult):
            for _ in range(self.num_res_blocks):
                h = self._block(self.nf * mult)(h, temb, next(keys))
                if self.attends(h):
                    h = self._attention()(h)
                skips.append(h)
            if level < len(self.ch_mult) - 1:
                h = layers.Downsample(self.resamp_with_conv, fir=False, dtype=self._dtype)(h)
                skips.append(h)

        h = self._block(h.shape[-1])(h, temb, next(keys))
        h = self._attention()(h)
        h = self._block(h.shape[-1])(h, temb, next(keys))

        for level, mult in reversed(list(enumerate(self.ch_mult))):
            for _ in range(self.num_res_blocks + 1):
                joined = jnp.concatenate([h, skips.pop()], axis=-1)
                h = self._block(self.nf * mult)(joined, temb, next(keys))
            if self.attends(h):
                h = self._attention()(h)
            if level > 0:
                h = layers.Upsample(self.resamp_with_conv, fir=False, dtype=self._dtype)(h)

        # No dtype: norm and convolution stay in float32, since nothing after them corrects rounding errors.
        h = self._activation(layers.group_norm(h.shape[-1], _GROUPS)(h))
        out = layers.conv3x3(self.num_channels, init_scale=0.0)(h)
        if self.scale_by_sigma:
            sigma = sigma_of_label(noise_input, self.sigma_min, self.sigma_max, self.num_scales)
            out = out / sigma[:, None, None, None]
        return out

    def _embedding(self, noise_input: PerImage) -> layers.Features:
        hidden = layers.dense(4 * self.nf)(positional_embedding(noise_input, self.nf))
        return layers.dense(4 * self.nf)(self._activation(hidden))

    def _block(self, features: int) -> Callable[..., Any]:
        return self._block_call(
            blocks.ResnetBlockDDPM(
                features,
                activation=self._activation,
                dropout=self.dropout,
                skip_rescale=False,
                groups=_GROUPS,
                dtype=self._dtype,
            )
        )

    def _attention(self) -> Callable[..., Any]:
        return self._block_call(
            blocks.AttnBlock(skip_rescale=False, groups=_GROUPS, dtype=self._dtype)
        )

    @property
    def _activation(self) -> layers.Activation:
        return layers.ACTIVATIONS[self.nonlinearity]

    @property
    def _dtype(self) -> DTypeLike | None:
        return DTYPES[self.dtype]

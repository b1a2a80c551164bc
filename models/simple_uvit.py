"""A U-Net with a transformer at its lowest resolution, after "simple diffusion" (Hoogeboom et al. 2023, Sec. 3.3).

    patches   each patch of patch_size x patch_size pixels becomes one pixel, so that no convolution runs at full resolution
    down      per level num_res_blocks residual blocks, then means of 2x2 pixels
    middle    tokens of size `width` with learned positions, and `depth` blocks of attention and an MLP
    up        per level pixels repeated 2x2, then num_res_blocks blocks, each with the skip of its mirror image appended to its input

The noise level and the class scale and shift all blocks. The paper calls this network U-ViT, as Bao et al. 2023 call theirs
(models/uvit.py), and has no published code or weights. This follows its text; where that leaves a choice, it uses blocks of
ADM (models/adm_blocks.py) and DiT (models/dit.py), whose residual branches are initialized to zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from score_sde.data.image_shape import in_words, sides
from score_sde.errors import ConfigError
from score_sde.models import layers
from score_sde.models.adm import check_channels
from score_sde.models.adm_blocks import ZERO, ResBlock, conv, dense, norm
from score_sde.models.conditions import with_class
from score_sde.models.dit import SMALL, DiTBlock, TimeEmbedding, plain_norm
from score_sde.models.resample import naive_downsample_2d, naive_upsample_2d
from score_sde.models.transformer import Transformer
from score_sde.models.unet import check_levels
from score_sde.shapes import Array, Keys


class SimpleUViT(Transformer):
    """The score network of simple diffusion, whose noise input is a time label in 0 ... 1000.

    `net.apply({"params": params}, x, noise_input, condition)` -> (b, h, w, c).

    Cost: attention between (h w / (patch_size 2^levels)^2)^2 pairs of tokens in each of `depth` blocks.
    """

    # Options that the U-Nets declare, here for the levels above the transformer's.
    nf: int = 128
    ch_mult: tuple[int, ...] = (1, 2, 2, 2)
    num_res_blocks: int = 4
    dropout: float = 0.1

    def check_fits(self) -> None:
        super().check_fits()
        check_levels(self.ch_mult)
        check_channels(f"model.nf={self.nf}", "", self._widths, 0)
        image_sides, levels = sides(self.image_size, self.image_width), len(self.ch_mult)

        def fits(patch: int, levels: int) -> bool:
            return not any(side % (patch * 2**levels) for side in image_sides)

        if not fits(self.patch_size, levels):
            smallest = min(image_sides)
            patches = [p for p in range(1, smallest + 1) if fits(p, levels)]
            depths = [n for n in range(1, smallest.bit_length()) if fits(self.patch_size, n)]
            ways = (
                ("model.patch_size=", patches),
                ("as many levels in model.ch_mult as ", depths),
            )
            choices = [what + " or ".join(map(str, numbers)) for what, numbers in ways if numbers]
            raise ConfigError(
                f"model.ch_mult={tuple(self.ch_mult)} halves images of {in_words(image_sides)} pixels, in patches of {self.patch_size}, "
                f"{levels} times, which does not give a whole number of tokens; use {', or '.join(choices) or 'images of even sides'}"
            )

    @nn.compact
    def __call__(
        self,
        x: layers.Image,
        noise_input: Array,
        condition: Any = (),
        dropout_keys: Keys | None = None,
    ) -> layers.Other:
        """The raw output of the network; arguments and result as in `NCSNpp.__call__`."""
        x, noise_input = self.inputs(x, noise_input, condition)
        keys = layers.layer_keys(dropout_keys, self.dropout)
        time = TimeEmbedding(self.width, name="time")(noise_input)
        level: Any = with_class(time, condition, self.num_classes, name="label_emb")
        level = self.with_levels(level, condition)

        b, height, width, _ = x.shape
        p = self.patch_size
        h = self.patches(x).reshape(b, height // p, width // p, -1)
        h = conv(self._widths[0], "first", dtype=self._dtype)(h)
        skips = []
        for number, channels in enumerate(self._widths):
            for block in range(self.num_res_blocks):
                h = self._res(channels, f"down_{number}_{block}", h, level, keys)
                skips.append(h)
            h = naive_downsample_2d(h)
        h = self._transformed(h, level)
        for number, channels in reversed(list(enumerate(self._widths))):
            h = naive_upsample_2d(h)
            for block in range(self.num_res_blocks):
                joined = jnp.concatenate([h, skips.pop()], axis=-1)
                h = self._res(channels, f"up_{number}_{block}", joined, level, keys)
        # No dtype: norm and convolution stay in float32, since nothing after them corrects rounding errors.
        last = conv(p**2 * self.num_channels, "last", init=ZERO)
        return self.image(last(nn.silu(norm("last_norm")(h))).reshape(b, -1, last.features))

    def _transformed(self, h: layers.Image, level: layers.Features) -> layers.Image:
        """Apply the transformer to the features of the lowest level, with a residual connection."""
        b, rows, columns, channels = h.shape
        tokens = dense(self.width, "tokens", dtype=self._dtype)(h.reshape(b, -1, channels))
        tokens = tokens + self.param("pos_embed", SMALL, (1, *tokens.shape[1:]), jnp.float32)
        hidden = int(self.width * self.mlp_ratio)
        for block in range(self.depth):
            layer = DiTBlock(self.num_heads, hidden, self._dtype, name=f"middle_{block}")
            tokens = self._block_call(layer)(tokens, level)
        back = dense(channels, "features", dtype=self._dtype)(plain_norm(tokens))
        return h + back.reshape(b, rows, columns, channels)

    def _res(
        self,
        channels: int,
        name: str,
        h: layers.Image,
        level: layers.Features,
        keys: Iterator[Keys | None],
    ) -> layers.Other:
        block = ResBlock(channels, dropout=self.dropout, dtype=self._dtype, name=name)
        return self._block_call(block)(h, level, next(keys))

    @property
    def _widths(self) -> tuple[int, ...]:
        return tuple(self.nf * mult for mult in self.ch_mult)

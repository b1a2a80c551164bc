"""NCSN++ and DDPM++ (Song et al. 2021, Appendix H): one U-Net, many options.

DDPM++ is this network with `fir=False` and no pyramids; NCSN++ adds FIR resampling and an input pyramid
(`progressive_input`) at 32 and 64 pixels, input and output pyramids from 256 pixels on. "Deep" only means
more `num_res_blocks`.

    embedding of the noise level
    down:    per level, num_res_blocks blocks, then a block that halves; every result is kept as a skip
    middle:  block, attention, block
    up:      per level, num_res_blocks + 1 blocks that each take back a skip, then a block that doubles
    head:    norm, activation, convolution; divided by sigma if `scale_by_sigma`
"""

from collections.abc import Iterator
from typing import Any, Self

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from score_sde.models import blocks, layers, options
from score_sde.models.conditions import null_condition, with_class
from score_sde.models.embeddings import (
    GaussianFourierProjection,
    positional_embedding,
    sigma_of_label,
)
from score_sde.options import choose

Image = layers.Image
BlockKeys = Iterator[layers.ImageKeys | None]


class NCSNpp(nn.Module):
    """The score network of Song et al. 2021. `net.apply({"params": params}, x, noise_input, condition)` -> (b, h, w, c).

    Fields, where the name does not say it all:
        ch_mult: width of each level as a multiple of nf; the number of levels is its length.
        attn_resolutions: resolutions, in pixels, of the levels with attention. The middle always has one.
        resblock_type: "biggan" (resamples inside the blocks) or "ddpm" (between them).
        fir, fir_kernel: resample with this filter, or naively (nearest, mean).
        progressive: "none"; "output_skip": each level on the way up adds an image to the output;
            "residual": it adds features instead.
        progressive_input: "none"; "input_skip": the downsampled image joins the features of each level;
            "residual": its convolved version does, and becomes them.
        progressive_combine: "sum" or "cat": how input_skip joins.
        embedding_type: what `noise_input` means. "fourier": sigma itself (of VE with continuous time; its log is
            taken here). "positional": a time label.
        scale_by_sigma: divide the output by sigma, so that a network that predicts noise gives a score.
            With "positional" labels, sigma is read from a table of num_scales values falling from sigma_max
            (label 0) to sigma_min; a label outside of it gives NaN rather than the sigma of another.
        sigma_min, sigma_max, num_scales: of that table; otherwise unused.
        skip_rescale: divide every residual sum by sqrt(2).
        init_scale: of the layers that end a residual or the network. 0: a new network outputs 0.
        resamp_with_conv: resampling between blocks has a convolution ("ddpm" blocks only).
        conditional: False builds a network that sees `noise_input` only through scale_by_sigma.
        num_classes: of the images that it may be told (`models/conditions.py`); 0: it is told none.
        centered: images arrive in [-1, 1]. False: in [0, 1], and are moved to [-1, 1] here.
        dtype: "float32", or "bfloat16" for the operands of convolutions and attention (`models/layers.py`).
            "float32" casts nothing: with float64 images and parameters everything is float64.
    """

    image_size: int
    num_channels: int = 3
    nf: int = 128
    ch_mult: tuple[int, ...] = (1, 2, 2, 2)
    num_res_blocks: int = 4
    attn_resolutions: tuple[int, ...] = (16,)
    resblock_type: str = "biggan"
    fir: bool = False
    fir_kernel: tuple[int, ...] = (1, 3, 3, 1)
    progressive: str = "none"
    progressive_input: str = "none"
    progressive_combine: str = "sum"
    embedding_type: str = "positional"
    fourier_scale: float = 16.0
    scale_by_sigma: bool = False
    sigma_min: float = 0.01
    sigma_max: float = 50.0
    num_scales: int = 1000
    skip_rescale: bool = True
    init_scale: float = 0.0
    resamp_with_conv: bool = True
    conditional: bool = True
    num_classes: int = 0
    nonlinearity: str = "swish"
    dropout: float = 0.0
    centered: bool = True
    dtype: str = "float32"

    def __post_init__(self) -> None:
        choose("model.resblock_type", self.resblock_type, ("biggan", "ddpm"))
        choose("model.progressive", self.progressive, ("none", "output_skip", "residual"))
        choose(
            "model.progressive_input", self.progressive_input, ("none", "input_skip", "residual")
        )
        choose("model.progressive_combine", self.progressive_combine, ("sum", "cat"))
        choose("model.embedding_type", self.embedding_type, ("fourier", "positional"))
        options.check_shared(self)
        for mult in (1, *self.ch_mult):
            layers.num_groups(self.nf * mult)
        super().__post_init__()

    @classmethod
    def from_config(cls, config: Any) -> Self:
        """Reads the fields from config.model and config.data (see `options.shared_fields`)."""
        model = config.model
        return cls(
            **options.shared_fields(config),
            resblock_type=model.resblock_type,
            fir=model.fir,
            fir_kernel=tuple(model.fir_kernel),
            progressive=model.progressive,
            progressive_input=model.progressive_input,
            progressive_combine=model.progressive_combine,
            embedding_type=model.embedding_type,
            fourier_scale=model.fourier_scale,
            skip_rescale=model.skip_rescale,
            init_scale=model.init_scale,
        )

    def null_condition(self, condition: Any) -> Any:
        """What says "no class" of the images of this condition; refuses one that the network does not take."""
        return null_condition(condition, self.num_classes)

    @nn.compact
    def __call__(
        self,
        x: Image,
        noise_input: Array,
        condition: Any = (),
        dropout_keys: layers.ImageKeys | None = None,
    ) -> Image:
        """The raw output of the network; `models/score.py` makes a score of it.

        Args:
            x: noisy images, (b, image_size, image_size, num_channels).
            noise_input: (b,); sigma for the Fourier embedding, a time label for the positional one.
            condition: {"label": (b,)}, the image's class in a network of num_classes; () for no class. A label
                outside of 0 ... num_classes, which is "no class", gives NaN.
            dropout_keys: one PRNG key per image, for training; None for evaluation.

        Returns:
            (b, h, w, c), float32 (float64 for float64 images).
        """
        options.check_input(x.shape, noise_input.shape, self.image_size, self.num_channels)
        real = jnp.promote_types(x.dtype, jnp.float32)
        x, noise_input = x.astype(real), noise_input.astype(real)
        keys = layers.layer_keys(dropout_keys, self.dropout)

        temb = self._embedding(noise_input) if self.conditional else None
        temb = with_class(temb, condition, self.num_classes)
        h, skips = self._down(x if self.centered else 2 * x - 1, temb, keys)
        h = self._block(h.shape[-1])(h, temb, next(keys))
        h = self._attention()(h)
        h = self._block(h.shape[-1])(h, temb, next(keys))
        out = self._up(h, skips, temb, keys)
        return out / self._sigma(noise_input)[:, None, None, None] if self.scale_by_sigma else out

    def _embedding(self, noise_input: Array) -> layers.Features:
        if self.embedding_type == "fourier":
            features = GaussianFourierProjection(self.nf, self.fourier_scale)(jnp.log(noise_input))
        else:
            features = positional_embedding(noise_input, self.nf)
        hidden = layers.dense(4 * self.nf)(features)
        return layers.dense(4 * self.nf)(self._activation(hidden))

    def _down(
        self, x: Image, temb: layers.Features | None, keys: BlockKeys
    ) -> tuple[Image, list[Image]]:
        pyramid = x
        h = layers.conv3x3(self.nf, dtype=self._dtype)(x)
        skips = [h]
        for level, mult in enumerate(self.ch_mult):
            for _ in range(self.num_res_blocks):
                h = self._block(self.nf * mult)(h, temb, next(keys))
                if h.shape[1] in self.attn_resolutions:
                    h = self._attention()(h)
                skips.append(h)
            if level < len(self.ch_mult) - 1:
                h = self._resampled(h, "down", temb, keys)
                if self.progressive_input == "input_skip":
                    pyramid = self._downsample(with_conv=False)(pyramid)
                    h = layers.Combine(self.progressive_combine, self._dtype)(pyramid, h)
                elif self.progressive_input == "residual":
                    pyramid = self._downsample(with_conv=True, features=h.shape[-1])(pyramid)
                    h = pyramid = blocks.rescaled_sum(pyramid, h, self.skip_rescale)
                skips.append(h)
        return h, skips

    def _up(
        self, h: Image, skips: list[Image], temb: layers.Features | None, keys: BlockKeys
    ) -> Image:
        deepest = len(self.ch_mult) - 1
        pyramid = h  # replaced at the deepest level, where the output pyramids begin
        for level in reversed(range(len(self.ch_mult))):
            for _ in range(self.num_res_blocks + 1):
                joined = jnp.concatenate([h, skips.pop()], axis=-1)
                h = self._block(self.nf * self.ch_mult[level])(joined, temb, next(keys))
            if h.shape[1] in self.attn_resolutions:
                h = self._attention()(h)
            if self.progressive == "output_skip":
                image = self._head(h)
                if level < deepest:
                    image = image + self._upsample(with_conv=False)(pyramid)
                pyramid = image
            elif self.progressive == "residual" and level == deepest:
                normed = self._activation(layers.group_norm(h.shape[-1], dtype=self._dtype)(h))
                pyramid = layers.conv3x3(h.shape[-1], dtype=self._dtype)(normed)
            elif self.progressive == "residual":
                pyramid = self._upsample(with_conv=True, features=h.shape[-1])(pyramid)
                h = pyramid = blocks.rescaled_sum(pyramid, h, self.skip_rescale)
            if level > 0:
                h = self._resampled(h, "up", temb, keys)
        return pyramid if self.progressive == "output_skip" else self._head(h)

    def _head(self, h: Image) -> Image:
        # No dtype: norm and convolution in float32, as nothing after them repairs the rounding.
        h = self._activation(layers.group_norm(h.shape[-1])(h))
        return layers.conv3x3(self.num_channels, self.init_scale)(h)

    def _resampled(
        self, h: Image, direction: str, temb: layers.Features | None, keys: BlockKeys
    ) -> Image:
        """One step between two levels, by a block or by a layer."""
        if self.resblock_type == "biggan":
            return self._block(h.shape[-1], direction)(h, temb, next(keys))
        make = self._upsample if direction == "up" else self._downsample
        return make(with_conv=self.resamp_with_conv)(h)

    def _sigma(self, noise_input: Array) -> Array:
        if self.embedding_type == "fourier":
            return noise_input
        return sigma_of_label(noise_input, self.sigma_min, self.sigma_max, self.num_scales)

    def _block(self, features: int, resampling: str | None = None) -> nn.Module:
        shared: dict[str, Any] = {
            "features": features,
            "activation": self._activation,
            "dropout": self.dropout,
            "skip_rescale": self.skip_rescale,
            "init_scale": self.init_scale,
            "dtype": self._dtype,
        }
        if self.resblock_type == "ddpm":
            return blocks.ResnetBlockDDPMpp(**shared)
        return blocks.ResnetBlockBigGANpp(
            **shared, resampling=resampling, fir=self.fir, fir_kernel=self.fir_kernel
        )

    def _attention(self) -> blocks.AttnBlockpp:
        return blocks.AttnBlockpp(self.skip_rescale, self.init_scale, dtype=self._dtype)

    def _downsample(self, with_conv: bool, features: int | None = None) -> layers.Downsample:
        return layers.Downsample(with_conv, self.fir, self.fir_kernel, features, self._dtype)

    def _upsample(self, with_conv: bool, features: int | None = None) -> layers.Upsample:
        return layers.Upsample(with_conv, self.fir, self.fir_kernel, features, self._dtype)

    @property
    def _activation(self) -> layers.Activation:
        return layers.ACTIVATIONS[self.nonlinearity]

    @property
    def _dtype(self) -> DTypeLike | None:
        return options.DTYPES[self.dtype]

"""NCSN++ and DDPM++ (Song et al. 2021, Appendix H): one U-Net with many options.

DDPM++ is this network with `fir=False` and no pyramids. NCSN++ adds FIR resampling, and an input pyramid
(`progressive_input`) at 32 and 64 pixels or both input and output pyramids from 256 pixels on. "Deep" variants only have
more `num_res_blocks`.

    embedding of the noise level
    down:    per level, num_res_blocks blocks, then a block that halves the resolution; every output is kept as a skip
    middle:  block, attention, block
    up:      per level, num_res_blocks + 1 blocks, each joined by a skip, then a block that doubles the resolution
    head:    norm, activation, convolution; divided by sigma if `scale_by_sigma`

In a network with `words`, every self-attention is followed by cross-attention to the text (cross_attention.py). A
ControlNet (control.py) adds to the skips and to the middle features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from score_sde.models import blocks, layers
from score_sde.models.conditions import with_class
from score_sde.models.cross_attention import CrossAttention, Text, WordEmbedding, check_words
from score_sde.models.embeddings import (
    GaussianFourierProjection,
    positional_embedding,
    sigma_of_label,
)
from score_sde.models.network import DTYPES
from score_sde.models.unet import ScoreUNet
from score_sde.options import Range, not_negative, one_of, option, positive
from score_sde.shapes import Array, Keys, PerImage

Image = layers.Image
Other = layers.Other
BlockKeys = Iterator[Keys | None]


class Encoded(NamedTuple):
    """Output of the encoder and the middle blocks, or what a ControlNet adds to it."""

    middle: Other
    skips: list[Other]

    def plus(self, control: Encoded, scale: float) -> Encoded:
        """Add `scale` times the features of a ControlNet, elementwise."""
        pairs = zip(self.skips, control.skips, strict=True)
        return Encoded(
            self.middle + scale * control.middle, [skip + scale * added for skip, added in pairs]
        )


class EncoderDecoder(ScoreUNet):
    """Options and parts of NCSN++, from which the networks here and in control.py are built."""

    resblock_type: str = option(
        "biggan",
        "biggan (resamples inside the blocks) | ddpm (between them)",
        one_of("biggan", "ddpm"),
    )
    fir: bool = option(
        False, "resample with the filter fir_kernel; False: nearest neighbour up, mean down"
    )
    fir_kernel: tuple[int, ...] = option(
        (1, 3, 3, 1),
        "taps of that filter, along each axis",
        Range(
            "integers that do not sum to 0, such as 1,3,3,1",
            lambda taps: bool(sum(taps)),
            ((), (1, -1)),
        ),
    )
    skip_rescale: bool = option(True, "divide residual sums by sqrt(2)")
    progressive: str = option(
        "none",
        "none | output_skip: each level on the way up adds an image to the output | residual: it adds features instead",
        one_of("none", "output_skip", "residual"),
    )
    progressive_input: str = option(
        "none",
        "none | input_skip: the downsampled image joins the features of each level | residual: a convolved copy is added, and the "
        "sum is passed on to the next level",
        one_of("none", "input_skip", "residual"),
    )
    progressive_combine: str = option(
        "sum", "sum | cat: how input_skip joins", one_of("sum", "cat")
    )
    embedding_type: str = option(
        "positional",
        "embedding of the noise level: positional, of a time label | fourier, of sigma (continuous VE)",
        one_of("positional", "fourier"),
    )
    fourier_scale: float = option(16.0, "standard deviation of the Fourier frequencies", positive)
    init_scale: float = option(
        0.0,
        "initialization scale of the last layers; 0 means 1e-10, so that a fresh network outputs almost 0",
        not_negative,
    )

    words: str = option(
        "",
        "vocabulary of the texts on which the network is conditioned, separated by spaces; empty: no text. The order of the words in a "
        "text does not matter",
    )

    @staticmethod
    def conditions(config: Any) -> tuple[str, ...]:
        text = ("text",) if config.model.words else ()
        return (*ScoreUNet.conditions(config), *text)

    @staticmethod
    def takes_logarithm(config: Any) -> bool:
        return bool(config.model.embedding_type == "fourier")

    def check_fits(self) -> None:
        super().check_fits()
        for mult in (1, *self.ch_mult):
            layers.num_groups(self.nf * mult)
        check_words(self.words)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The words of the vocabulary; word i is i + 1 in an encoded text, where 0 is padding."""
        return tuple(self.words.split())

    def _conditioning(
        self, noise_input: PerImage, condition: Any
    ) -> tuple[layers.Features | None, Text | None]:
        """The joint embedding of noise level, class, condition noise and interval; and the embedded text, if words are given."""
        temb = self._embedding(noise_input) if self.conditional else None
        temb = with_class(temb, condition, self.num_classes)
        temb = self.with_levels(temb, condition)
        if not self.words:
            return temb, None
        ids = dict(condition).get("text", jnp.zeros((len(noise_input), 1), jnp.int32))
        return temb, WordEmbedding(len(self.vocabulary), self.nf)(ids)

    def _encode(
        self,
        x: Image,
        temb: layers.Features | None,
        text: Text | None,
        keys: BlockKeys,
        control: Other | None = None,
    ) -> Encoded:
        """Run the encoder and the middle blocks; `control`, if given, is added to the output of the first convolution."""
        h, skips = self._down(x, temb, text, keys, control)
        h = self._block(h.shape[-1])(h, temb, next(keys))
        h = self._attended(h, text)
        return Encoded(self._block(h.shape[-1])(h, temb, next(keys)), skips)

    def _embedding(self, noise_input: PerImage) -> layers.Features:
        if self.embedding_type == "fourier":
            features = GaussianFourierProjection(self.nf, self.fourier_scale)(jnp.log(noise_input))
        else:
            features = positional_embedding(noise_input, self.nf)
        hidden = layers.dense(4 * self.nf)(features)
        return layers.dense(4 * self.nf)(self._activation(hidden))

    def _down(
        self,
        x: Image,
        temb: layers.Features | None,
        text: Text | None,
        keys: BlockKeys,
        control: Other | None,
    ) -> tuple[Other, list[Other]]:
        pyramid = x
        h = layers.conv3x3(self.nf, dtype=self._dtype)(x)
        h = h if control is None else h + control
        skips = [h]
        for level, mult in enumerate(self.ch_mult):
            for _ in range(self.num_res_blocks):
                h = self._block(self.nf * mult)(h, temb, next(keys))
                if self.attends(h):
                    h = self._attended(h, text)
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
        self,
        h: Other,
        skips: list[Other],
        temb: layers.Features | None,
        text: Text | None,
        keys: BlockKeys,
    ) -> Other:
        deepest = len(self.ch_mult) - 1
        pyramid = h  # replaced at the deepest level, where the output pyramids begin
        for level in reversed(range(len(self.ch_mult))):
            for _ in range(self.num_res_blocks + 1):
                joined = jnp.concatenate([h, skips.pop()], axis=-1)
                h = self._block(self.nf * self.ch_mult[level])(joined, temb, next(keys))
            if self.attends(h):
                h = self._attended(h, text)
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

    def _head(self, h: Image) -> Other:
        # No dtype: norm and convolution stay in float32, since nothing after them corrects rounding errors.
        h = self._activation(layers.group_norm(h.shape[-1])(h))
        return layers.conv3x3(self.num_channels, self.init_scale)(h)

    def _resampled(
        self, h: Image, direction: str, temb: layers.Features | None, keys: BlockKeys
    ) -> Other:
        """Move one level "down" or "up" in resolution, by a residual block (biggan) or a layer (ddpm)."""
        if self.resblock_type == "biggan":
            return self._block(h.shape[-1], direction)(h, temb, next(keys))
        make = self._upsample if direction == "up" else self._downsample
        return make(with_conv=self.resamp_with_conv)(h)

    def _sigma(self, noise_input: PerImage) -> PerImage:
        if self.embedding_type == "fourier":
            return noise_input
        return sigma_of_label(noise_input, self.sigma_min, self.sigma_max, self.num_scales)

    def _block(self, features: int, resampling: str | None = None) -> Callable[..., Any]:
        shared: dict[str, Any] = {
            "features": features,
            "activation": self._activation,
            "dropout": self.dropout,
            "skip_rescale": self.skip_rescale,
            "init_scale": self.init_scale,
            "dtype": self._dtype,
        }
        if self.resblock_type == "ddpm":
            return self._block_call(blocks.ResnetBlockDDPMpp(**shared))
        return self._block_call(
            blocks.ResnetBlockBigGANpp(
                **shared, resampling=resampling, fir=self.fir, fir_kernel=self.fir_kernel
            )
        )

    def _attended(self, h: Other, text: Text | None) -> Other:
        """Self-attention over all pixels, then cross-attention to the text, if there is one."""
        attention = blocks.AttnBlockpp(self.skip_rescale, self.init_scale, dtype=self._dtype)
        h = self._block_call(attention)(h)
        return h if text is None else self._block_call(CrossAttention(self._dtype))(h, text)

    def _downsample(self, with_conv: bool, features: int | None = None) -> layers.Downsample:
        return layers.Downsample(with_conv, self.fir, self.fir_kernel, features, self._dtype)

    def _upsample(self, with_conv: bool, features: int | None = None) -> layers.Upsample:
        return layers.Upsample(with_conv, self.fir, self.fir_kernel, features, self._dtype)

    @property
    def _activation(self) -> layers.Activation:
        return layers.ACTIVATIONS[self.nonlinearity]

    @property
    def _dtype(self) -> DTypeLike | None:
        return DTYPES[self.dtype]


class NCSNpp(EncoderDecoder):
    """The score network of Song et al. 2021. `net.apply({"params": params}, x, noise_input, condition)` -> (b, h, w, c).

    For VE in continuous time the noise input is sigma itself, and the "fourier" embedding takes its logarithm.
    """

    @nn.compact
    def __call__(
        self,
        x: Image,
        noise_input: Array,
        condition: Any = (),
        dropout_keys: Keys | None = None,
        control: Encoded | None = None,
        control_scale: float = 1.0,
    ) -> Image:
        """The raw output of the network, which `models/score.py` converts to a score.

        Args:
            x: noisy images, (b, h, w, num_channels).
            noise_input: (b,); sigma for the Fourier embedding, a time label for the positional one.
            condition: a dictionary (conditions.py) with "label", (b,), the classes, if the network has num_classes; "image",
                (b, h, w, _), if it has a condition_image; "text", (b, l), if it has words. () for no condition. The label
                num_classes is "no class"; labels outside of 0 ... num_classes give NaN.
            dropout_keys: one PRNG key per image, for training; None for evaluation.
            control, control_scale: features that a ControlNet adds to those of the encoder, and their factor.

        Returns:
            (b, h, w, c), float32 (float64 for float64 images).
        """
        x, noise_input = self.inputs(x, noise_input, condition)
        keys = layers.layer_keys(dropout_keys, self.dropout)
        temb, text = self._conditioning(noise_input, condition)
        encoded = self._encode(x if self.centered else 2 * x - 1, temb, text, keys)
        if control is not None:
            encoded = encoded.plus(control, control_scale)
        out = self._up(encoded.middle, [*encoded.skips], temb, text, keys)
        return out / self._sigma(noise_input)[:, None, None, None] if self.scale_by_sigma else out

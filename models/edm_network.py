"""Shared part of EDM's two U-Nets (Karras et al. 2022, App. F): encoder, decoder, and conditions.

    down:  a convolution, then per level a block that halves the resolution (not at the first level) and num_res_blocks
           blocks; all outputs are skips
    up:    two blocks at the lowest level, the first with attention, then per level a block that doubles the resolution (not
           at the lowest) and num_res_blocks + 1 blocks, each joined by a skip

`noise_input` is c_noise itself, ln(sigma)/4 with model.predicts=edm. Layers are named as in the published state dicts
(foreign_weights/state_dicts.py), which name levels by the image's side.
"""

from __future__ import annotations

import abc
from typing import Any, ClassVar, Self

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Float

from score_sde.data.image_shape import sides
from score_sde.models import layers
from score_sde.models.adm import check_sinusoids
from score_sde.models.adm_blocks import conv
from score_sde.models.conditions import class_indicator
from score_sde.models.edm_blocks import EDMBlock, Style, norm
from score_sde.models.network import DTYPES, Network
from score_sde.models.published import StateDict
from score_sde.models.unet import UNet
from score_sde.shapes import Array, Keys, PerImage

AUGMENTATIONS = 9
"""Numbers with which EDM describes the augmentation of an image (training/augmentation.py)."""


class EDMNetwork(UNet, abc.ABC):
    """Base class of EDM's U-Nets. `net.apply({"params": params}, x, noise_input, condition)` -> (b, h, w, c).

    There is no vector for "no class", the label after the last: nothing is added for it. A condition may also have
    "augment", (b, augment_dim), the augmentation of each image; it is 0 (not augmented) if missing, and in the null condition.
    """

    # Options that other networks declare.
    noise_mult: int = 1
    emb_mult: int = 4
    learned_variance: bool = False

    augment_dim: int = 0
    """Numbers that describe the augmentation of an image: AUGMENTATIONS if training.augment > 0."""

    UNCONFIGURED: ClassVar[tuple[str, ...]] = (*Network.UNCONFIGURED, "augment_dim")
    STYLE: ClassVar[Style]

    @classmethod
    def from_config(cls, config: Any) -> Self:
        network = super().from_config(config)
        return network.copy(augment_dim=AUGMENTATIONS) if config.training.augment else network

    def check_fits(self) -> None:
        super().check_fits()
        check_sinusoids(self.nf * self.noise_mult)
        for mult in (1, *self.ch_mult):
            layers.num_groups(self.nf * mult)

    def null_condition(self, condition: Any) -> Any:
        """Return the null condition: no class, not augmented."""
        if not (self.augment_dim and isinstance(condition, dict) and "augment" in condition):
            return super().null_condition(condition)
        others = {name: given for name, given in condition.items() if name != "augment"}
        null = dict(super().null_condition(others)) if others else {}
        return {**null, "augment": jnp.zeros_like(condition["augment"])}

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
        level = self.with_levels(self._embedding(noise_input, condition), condition)
        x = x if self.centered else 2 * x - 1
        pyramid = x
        first = conv(
            self._first_width, f"enc_{self._side(0)}_conv", init=self.STYLE.first, dtype=self._dtype
        )
        skips = [first(x)]
        for number, mult in enumerate(self.ch_mult):
            name = f"enc_{self._side(number)}"
            if number:
                h = self._block(skips[-1].shape[-1], f"{name}_down", "down")(
                    skips[-1], level, next(keys)
                )
                h, pyramid = self._taken_in(h, pyramid, name)
                skips.append(h)
            for block in range(self.num_res_blocks):
                heads = self._heads(self.nf * mult) if self.attends(skips[-1]) else 0
                called = self._block(self.nf * mult, f"{name}_block{block}", heads=heads)
                skips.append(called(skips[-1], level, next(keys)))
        h = skips[-1]
        for number, mult in reversed(list(enumerate(self.ch_mult))):
            name, width = f"dec_{self._side(number)}", h.shape[-1]
            if number == len(self.ch_mult) - 1:
                inner = self._block(width, f"{name}_in0", heads=self._heads(width))
                h = inner(h, level, next(keys))
                h = self._block(width, f"{name}_in1")(h, level, next(keys))
            else:
                h = self._block(width, f"{name}_up", "up")(h, level, next(keys))
            for block in range(self.num_res_blocks + 1):
                heads = self._heads(self.nf * mult) if self._attends_up(h, block) else 0
                called = self._block(self.nf * mult, f"{name}_block{block}", heads=heads)
                h = called(jnp.concatenate([h, skips.pop()], axis=-1), level, next(keys))
        # No dtype: norm and convolution stay in float32, since nothing after them corrects rounding errors.
        last_norm, last_conv = self._last
        h = nn.silu(norm(h.shape[-1], last_norm, self.STYLE.epsilon)(h))
        channels = self.num_channels * (1 + self.learned_variance)
        return conv(channels, last_conv, init=self.STYLE.last)(h)

    @property
    def state_dict(self) -> StateDict:
        """The published state dict: nested in a preconditioning module, a filter per resampling layer, attention by convolutions."""
        taps = np.asarray(self._taps, np.float64)
        resampling = np.outer(taps, taps)[None, None] / np.square(taps.sum())
        augmentation = "says how an image was augmented, which no data here are"
        return StateDict(
            within="model.",
            convolutions={".qkv": (1, 1), ".proj": (1, 1)},
            constants={f"{layer}.resample_filter": resampling for layer in self._resampling()},
            left_out={} if self.augment_dim else {"map_augment.weight": augmentation},
        )

    def _resampling(self) -> list[str]:
        """Published names of the layers that change the resolution."""
        levels = [self._side(number) for number in range(len(self.ch_mult))]
        blocks = [f"enc.{side}_down" for side in levels[1:]]
        blocks += [f"dec.{side}_up" for side in levels[:-1]]
        return [f"{block}.{layer}" for block in blocks for layer in ("conv0", "skip")]

    @abc.abstractmethod
    def _embedding(self, noise_input: PerImage, condition: Any) -> layers.Features:
        """The embedding of noise level and condition that the blocks take."""

    @abc.abstractmethod
    def _heads(self, channels: int) -> int:
        """Number of attention heads for this number of channels; 0: no attention, even where configured."""

    @abc.abstractmethod
    def _attends_up(self, h: layers.Other, block: int) -> bool:
        """Whether block number `block` of a decoder level has attention."""

    @property
    @abc.abstractmethod
    def _last(self) -> tuple[str, str]:
        """Names of the last norm and convolution."""

    @property
    @abc.abstractmethod
    def _first_width(self) -> int:
        """Channels of the first convolution."""

    @property
    def _taps(self) -> tuple[int, ...]:
        """Taps of the resampling filter; (1, 1) averages and repeats pixels."""
        return (1, 1)

    def _taken_in(
        self, h: layers.Image, pyramid: layers.Other, name: str
    ) -> tuple[layers.Image, layers.Other]:
        """Join the input pyramid to the features h of a new level; returns both, here unchanged."""
        return h, pyramid

    def _augmentation(self, condition: Any, b: int) -> Float[Array, "b _"]:
        """The augmentation of each image; 0 if the condition has none."""
        return dict(condition).get("augment", jnp.zeros((b, self.augment_dim)))

    def _classes(self, condition: Any, level: layers.Features) -> Float[Array, "b _"]:
        return class_indicator(condition, self.num_classes, len(level), level.dtype)

    def _linear(self, features: int, name: str, use_bias: bool = True) -> nn.Dense:
        """A dense layer of the embedding."""
        return nn.Dense(features, use_bias, kernel_init=self.STYLE.first, name=name)

    def _block(
        self, features: int, name: str, resampling: str | None = None, heads: int = 0
    ) -> Any:
        return self._block_call(
            EDMBlock(
                features,
                self.STYLE,
                self._taps,
                resampling,
                heads,
                self.dropout,
                self._dtype,
                name=name,
            )
        )

    def _side(self, number: int) -> str:
        side = min(sides(self.image_size, self.image_width)) >> number
        return f"{side}x{side}"

    @property
    def _dtype(self) -> DTypeLike | None:
        return DTYPES[self.dtype]

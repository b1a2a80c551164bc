"""ControlNet (Zhang et al. 2023, arXiv:2302.05543): a frozen network conditioned on an image through a trained copy of its encoder.

Let E(x) be the encoder of an NCSN++ or DDPM++, which gives the features h_i of the skips and of the middle, and D the
decoder that maps them to the output. With the copy E', conditioned on an image y, and 1x1 convolutions Z initialized to 0
(their Eq. 2 and 3),

    out = D(h + s Z_i(E'(x, Z(y)))),    s = control_scale.

Initially Z = 0, so the output is that of the base network whatever y is; the same holds for s = 0, to the bit. At Z = 0 the
gradient with respect to Z is nonzero and that with respect to E' is zero: the first update moves only Z.

The base is not given the image or its noise level; a class or a text is given to both parts. Z(y) is added to the copy's
first features rather than to x, so that an image with more channels than x loses none, as in the published code.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Self

import flax.linen as nn
import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.models import layers
from score_sde.models.ncsnpp import Encoded, EncoderDecoder, Image, NCSNpp, Other
from score_sde.models.network import check_input
from score_sde.options import not_negative, option
from score_sde.shapes import Array, Keys

BASE, CONTROL = "base", "control"  # names of the two parts in the parameter tree
TOLD_NO_IMAGE = {"condition_image": "none", "condition_channels": 0, "condition_noise": 0.0}


class Copy(EncoderDecoder):
    """Trainable copy of the encoder, with the same parameter names, and zero convolutions before and after it."""

    @nn.compact
    def __call__(
        self,
        x: Image,
        noise_input: Array,
        condition: Any = (),
        dropout_keys: Keys | None = None,
    ) -> Encoded:
        """Return the features that are added to those of the base, before scaling."""
        shape = (len(x), *(self._condition_shape or ()))
        image = dict(condition).get("image", jnp.zeros(shape)).astype(x.dtype)
        keys = layers.layer_keys(dropout_keys, self.dropout)
        temb, text = self._conditioning(noise_input, condition)
        control = self._zero_conv(self.nf, "zero_image")(image)
        inside = x if self.centered else 2 * x - 1
        middle, skips = self._encode(inside, temb, text, keys, control)

        def out(h: Other, name: str) -> Other:
            return self._zero_conv(h.shape[-1], name)(h)

        return Encoded(
            out(middle, "zero_middle"), [out(h, f"zero_skip_{i}") for i, h in enumerate(skips)]
        )

    def _zero_conv(self, features: int, name: str) -> nn.Conv:
        zeros = nn.initializers.zeros
        return nn.Conv(features, (1, 1), kernel_init=zeros, dtype=self._dtype, name=name)


class ControlNet(EncoderDecoder):
    """The frozen base network, plus the features that its trained copy adds.

    Options other than those below are the base's, except that condition_image and its options describe the control image.
    """

    control_base: str = option(
        "",
        "controlnet: folder of the trained base network, which stays frozen; its averaged weights are kept with this run's",
    )
    control_scale: float = option(
        1.0,
        "controlnet: factor of the control's features; 0: the base network alone",
        not_negative,
    )

    @staticmethod
    def frozen() -> tuple[str, ...]:
        """Names of the frozen parameters, which have no gradient, no optimizer state and no EMA."""
        return (BASE,)

    @classmethod
    def from_config(cls, config: Any) -> Self:
        if config.model.condition_image == "none":
            raise ConfigError(
                "model.name='controlnet' with model.condition_image='none': there is no image for its control; set it to measured "
                "or paired, or use model.name='ncsnpp'"
            )
        return super().from_config(config)

    @nn.compact
    def __call__(
        self,
        x: Image,
        noise_input: Array,
        condition: Any = (),
        dropout_keys: Keys | None = None,
    ) -> Image:
        """As `NCSNpp.__call__`. Dropout acts in the copy only, never in the base. Costs about 1.5 times the base network."""
        check_input(x.shape, noise_input.shape, self)
        self.null_condition(condition)
        real = jnp.promote_types(x.dtype, jnp.float32)
        x, noise_input = x.astype(real), noise_input.astype(real)
        names = [field.name for field in dataclasses.fields(NCSNpp)]
        fields = {name: getattr(self, name) for name in names if name not in self.UNCONFIGURED}
        base = NCSNpp(**{**fields, **TOLD_NO_IMAGE}, name=BASE)
        rest = {name: of for name, of in dict(condition).items() if not name.startswith("image")}
        if not (self.control_scale or self.is_initializing()):
            return base(x, noise_input, rest)
        control = Copy(**fields, name=CONTROL)(x, noise_input, condition, dropout_keys)
        return base(x, noise_input, rest, None, control, self.control_scale)

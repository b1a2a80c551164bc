"""ControlNet (Zhang et al. 2023, arXiv:2302.05543): a frozen network conditioned on an image through a trained copy of its encoder.

Let E(x) be the encoder of an NCSN++ or DDPM++, features h_i of the skips and of the middle, and D the decoder that makes the
output of them. With the copy E', conditioned on an image y, and 1x1 convolutions Z that begin as 0 (their Eq. 2 and 3),

    out = D(h + s Z_i(E'(x, Z(y)))),    s = control_scale.

At the start Z = 0, so the output is the base's whatever y is, and so it is at s = 0, to the bit. The gradient in Z is not 0 there,
that in E' is until Z has moved: the first update moves the Z alone.

The base takes no image and no noise of one; a class or a text both take. Z(y) joins the copy's first features rather than x
itself, so that an image of more channels than x loses none, as in the published code.
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

BASE, CONTROL = "base", "control"  # names of the two parts among the parameters
TOLD_NO_IMAGE = {"condition_image": "none", "condition_channels": 0, "condition_noise": 0.0}


class Copy(EncoderDecoder):
    """The encoder again, under the same names of parameters, with zero convolutions before and behind it."""

    @nn.compact
    def __call__(
        self,
        x: Image,
        noise_input: Array,
        condition: Any = (),
        dropout_keys: Keys | None = None,
    ) -> Encoded:
        """What is added to the base's features, before it is scaled."""
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
    """The base, frozen, with what the copy adds. The fields beside are those of the base; condition_image is what the control is."""

    control_base: str = option(
        "",
        "controlnet: folder of the trained base network, which stays frozen; its averaged weights are kept beside this run's",
    )
    control_scale: float = option(
        1.0,
        "controlnet: factor of the control's features; 0: the base network alone",
        not_negative,
    )

    @staticmethod
    def frozen() -> tuple[str, ...]:
        """Names of the parameters that no update moves: no gradient, no state of the optimizer, no average."""
        return (BASE,)

    @classmethod
    def from_config(cls, config: Any) -> Self:
        if config.model.condition_image == "none":
            raise ConfigError(
                "model.name='controlnet' with model.condition_image='none': there is no image for its control; set it to measured "
                "or paired, or take model.name='ncsnpp'"
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
        """As `NCSNpp.__call__`. Dropout is the copy's; the base is as it is in use. Cost: some three halves of the base."""
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

"""EDM's non-leaky augmentation of training images, on which the network is conditioned (Karras et al. 2022, App. F.2).

Augmented images have another distribution than the data. A network conditioned on each image's augmentation, given as nine numbers,
learns the score of every augmented distribution. With nine zeros, as in sampling, it gives the score of the data: nothing leaks.

    transformation             amount                                probability   input
    mirror left-right                                                1/2           1
    mirror top-bottom                                                A/2           1
    scale                      2^(0.2 a), a ~ N(0, 1)                A             a
    rotate counterclockwise    w ~ U(-pi, pi)                        A             cos(w) - 1, sin(w)
    stretch along direction r  2^(0.2 a), a ~ N(0, 1); its inverse   A             a cos(r), a sin(r)
                                 across r; r ~ U(-pi, pi) or,
                                 with probability 1/2, 0
    translate                  1/8 of the image size times           A             a, b
                                 a right and b down, N(0, 1)

They are applied in this order and independently, with A = training.augment; published are 0.12 for CIFAR-10 and 0.15 for FFHQ. The
input of a transformation that is not applied is 0. (As published, (-a, r + pi) has the same input as (a, r), so a stretch cannot always
be distinguished from a shrinkage.)
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from score_sde.data.image_shape import in_words, sides_of
from score_sde.data.warping import Matrix, warped
from score_sde.errors import ConfigError
from score_sde.models.networks import NETWORKS
from score_sde.shapes import Array, Keys, OneKey, PerImage, Pixels, Scalar

OCTAVES = 0.2
"""Standard deviation of the base-2 logarithm of the factor by which an image is scaled or stretched."""
WAY = 0.125
"""Standard deviation of the translation, relative to the side of the image."""


class Augmentation(NamedTuple):
    """The parameters of each image's augmentation, (b,) each; 0 means not applied."""

    mirrored: PerImage
    """0 or 1: mirrored left-right."""
    upside_down: PerImage
    """0 or 1: mirrored top-bottom."""
    enlarged: PerImage
    """The a of the scale 2^(0.2 a)."""
    turned: PerImage
    """The angle w of the rotation, in radians, counterclockwise."""
    stretched: PerImage
    """The a of the stretch by 2^(0.2 a)."""
    direction: PerImage
    """The direction r of the stretch, in radians, counterclockwise from the right."""
    right: PerImage
    down: PerImage

    @property
    def labels(self) -> Float[Array, "b 9"]:
        """The nine numbers on which the network is conditioned, for each image."""
        numbers = [
            self.mirrored,
            self.upside_down,
            self.enlarged,
            jnp.cos(self.turned) - 1.0,
            jnp.sin(self.turned),
            self.stretched * jnp.cos(self.direction),
            self.stretched * jnp.sin(self.direction),
            self.right,
            self.down,
        ]
        return jnp.stack(numbers, axis=1)

    def of(self, x: Pixels) -> Pixels:
        """Augment square images (b, n, n, c); mirroring and quarter turns alone only permute pixels, without interpolation."""
        return jax.vmap(augmented)(x, *self)


def drawn(keys: Keys, rate: float) -> Augmentation:
    """Sample an augmentation for each key, at this rate A."""

    def of_one(key: OneKey) -> list[Scalar]:
        flips, done, normal, turns = jax.random.split(key, 4)
        mirrored, upside_down = jax.random.bernoulli(flips, 0.5, (2,)).astype(jnp.float32)
        of_flip, *of_others = jax.random.bernoulli(done, rate, (5,))
        larger, stretch, right, down = jax.random.normal(normal, (4,), jnp.float32)
        of_turn, of_direction, aslant = jax.random.split(turns, 3)
        turn = jax.random.uniform(of_turn, (), jnp.float32, -math.pi, math.pi)
        direction = jax.random.uniform(of_direction, (), jnp.float32, -math.pi, math.pi)
        direction = jnp.where(jax.random.bernoulli(aslant), direction, 0.0)
        others = ((larger,), (turn,), (stretch, direction), (right, down))
        values = [
            jnp.where(is_done, value, 0.0)
            for is_done, given in zip(of_others, others, strict=True)
            for value in given
        ]
        return [mirrored, jnp.where(of_flip, upside_down, 0.0), *values]

    return Augmentation(*jax.vmap(of_one)(keys))


def augmented(
    x: Float[Array, "n n c"],
    mirrored: Scalar,
    upside_down: Scalar,
    enlarged: Scalar,
    turned: Scalar,
    stretched: Scalar,
    direction: Scalar,
    right: Scalar,
    down: Scalar,
) -> Float[Array, "n n c"]:
    """Augment one image."""
    x = jnp.where(mirrored > 0, x[:, ::-1], x)
    x = jnp.where(upside_down > 0, x[::-1], x)
    # Rotate by the nearest quarter turn, which permutes pixels, so that only a small rotation needs interpolation.
    quarters = jnp.round(turned / (math.pi / 2))
    rest = turned - quarters * jnp.asarray(math.pi / 2, turned.dtype)
    turns = jnp.stack([jnp.rot90(x, k) for k in range(4)])
    x = turns[quarters.astype(jnp.int32) % 4]
    shift = WAY * len(x) * jnp.stack([right, down])
    inverse = rotation(rest) @ unstretched(stretched, direction) * jnp.exp2(-OCTAVES * enlarged)
    same = jnp.all(inverse == jnp.eye(2)) & jnp.all(shift == 0)
    return jnp.where(same, x, warped(x, inverse.astype(x.dtype), shift.astype(x.dtype)))


def rotation(angle: Scalar) -> Matrix:
    """Return the map from output to input pixels of a counterclockwise rotation by this angle, with x to the right and y down."""
    c, s = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([jnp.stack([c, -s]), jnp.stack([s, c])])


def unstretched(stretched: Scalar, direction: Scalar) -> Matrix:
    """Return the map from output to input pixels of a stretch S: S^-1, symmetric with eigenvalues 2^(-0.2 a) and 2^(0.2 a)."""
    along, across = jnp.exp2(-OCTAVES * stretched), jnp.exp2(OCTAVES * stretched)
    mean, half = 0.5 * (along + across), 0.5 * (along - across)
    c, s = jnp.cos(2 * direction), jnp.sin(2 * direction)
    return jnp.stack(
        [jnp.stack([mean + half * c, -half * s]), jnp.stack([-half * s, mean - half * c])]
    )


def check_augmentation(config: Any) -> None:
    """Check that the network and the images support the configured augmentation.

    Raises:
      ConfigError: the network has no input for it, the images are not square, or it conflicts with another option.
    """
    rate, model, height_and_width = config.training.augment, config.model, sides_of(config.data)
    if not rate:
        return
    able = [name for name, network in NETWORKS.items() if hasattr(network, "augment_dim")]
    if model.name not in able:
        raise ConfigError(
            f"training.augment={rate} with model.name={model.name!r}, which has no input for how images were augmented; use "
            f"model.name={' or '.join(able)}, or training.augment=0"
        )
    if config.data.random_flip:
        raise ConfigError(
            f"training.augment={rate} with data.random_flip=True: augmentation mirrors images itself, and conditions the network on it; set "
            "data.random_flip=False"
        )
    if height_and_width[0] != height_and_width[1] or height_and_width[0] < 2:
        raise ConfigError(
            f"training.augment={rate} with images of {in_words(height_and_width)} pixels: only square ones of 2x2 or more can be rotated; "
            "set training.augment=0"
        )
    if model.condition_image != "none":
        raise ConfigError(
            f"training.augment={rate} with model.condition_image={model.condition_image!r}: the condition image would not be "
            "augmented along with it; set training.augment=0, or condition_image='none'"
        )

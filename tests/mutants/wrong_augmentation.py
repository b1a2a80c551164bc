"""Mistakes in the augmentation of images."""

from tests.mutants.mutant import mutants

AUGMENTATION = "tests/training/test_augmentation.py"

# fmt: off
AUGMENTATIONS = [
    *mutants("training/augmentation.py", AUGMENTATION,
        ("turned-to-the-right", "return jnp.stack([jnp.stack([c, -s]), jnp.stack([s, c])])", "return jnp.stack([jnp.stack([c, s]), jnp.stack([-s, c])])"),
        ("turns-of-the-other-half", "rest = turned - quarters", "rest = turned + quarters"),
        ("stretched-in-a-mirrored-direction", "jnp.stack([mean + half * c, -half * s]), jnp.stack([-half * s, mean - half * c])", "jnp.stack([mean + half * c, half * s]), jnp.stack([half * s, mean - half * c])"),
        ("shrunk-for-enlarged", "jnp.exp2(-OCTAVES * enlarged)", "jnp.exp2(OCTAVES * enlarged)"),
        ("stretched-before-it-is-turned", "rotation(rest) @ unstretched(stretched, direction)", "unstretched(stretched, direction) @ rotation(rest)"),
        ("told-the-angle", "jnp.cos(self.turned) - 1.0", "jnp.cos(self.turned)"),
        ("upside-down-as-often-as-mirrored", "jnp.where(of_flip, upside_down, 0.0)", "upside_down"),
        ("all-or-nothing", "jnp.where(is_done, value, 0.0)", "jnp.where(of_flip, value, 0.0)"),
    ),
    *mutants("data/warping.py", AUGMENTATION,
        ("filter-around-its-middle-tap", "float(np.arange(len(SYM6)) @ SYM6 / SYM6.sum())", "(len(SYM6) - 1) / 2"),
        ("moved-by-half-pixels", "offsets - 2 * shift[0]", "offsets - shift[0]"),
        ("edges-repeated", "pixel = min(i, period - i)", "pixel = min(i, period - 1 - i)"),
    ),
    *mutants("training/objective.py", AUGMENTATION,
        ("augmentation-not-told", "{**dict(condition), \"augment\": augmentation.labels}", "{**dict(condition), \"augment\": 0 * augmentation.labels}"),
    ),
    *mutants("models/edm_unet.py", "tests/models/test_edm_networks.py::test_the_image_joins_the_features_of_each_level",
        ("edm-pyramid-of-unfiltered-images", "resampled(pyramid, \"down\", self._taps)", "pyramid[:, ::2, ::2]"),
    ),
]
# fmt: on

"""Mistakes in what quality is measured in."""

from tests.mutants.mutant import mutants

# fmt: off
FEATURES = [
    *mutants("features/inception.py", "tests/features/test_inception.py",
        ("padding-counted-in-means", "count_include_pad=False", "count_include_pad=True"),
        ("inception-of-torchvision", "Block8(most_around, name=\"Mixed_7c\")", "Block8(mean_around, name=\"Mixed_7c\")"),
        ("inception-with-flax-epsilon", "BATCH_NORM_EPS = 1e-3", "BATCH_NORM_EPS = 1e-5"),
        ("inception-joined-pool-first", "joined(three, seven, halved(x))", "joined(halved(x), three, seven)"),
        ("inception-across-before-along", "(x), along, across, double", "(x), across, along, double"),
        ("logits-of-the-last-positions", ")(pooled)", ")(x[:, -1, -1])"),
        ("unit-without-relu", "nn.relu(StoredNorm(name=\"bn\")(conv(x)))", "StoredNorm(name=\"bn\")(conv(x))"),
        ("numbers-of-any-kind-for-levels", "images.dtype != jnp.uint8 or ", ""),
    ),
    *mutants("features/inception.py", "tests/features/test_resize.py",
        ("inception-scaled-to-one", "(resized(images, SIDE) - 128.0) / 128.0", "2.0 * resized(images, SIDE) / 255.0 - 1.0"),
    ),
    *mutants("features/resize.py", "tests/features/test_resize.py",
        ("resized-with-half-pixels", "np.arange(after, dtype=np.float32) * np.float32(before / after)", "np.maximum((np.arange(after, dtype=np.float32) + np.float32(0.5)) * np.float32(before / after) - np.float32(0.5), 0)"),
        ("resized-corner-to-corner", "np.float32(before / after)", "np.float32((before - 1) / (after - 1))"),
        ("resized-at-positions-in-double", "np.arange(after, dtype=np.float32) * np.float32(before / after)", "np.arange(after) * (before / after)"),
    ),
    *mutants("features/inception_weights.py", "tests/features/test_inception_weights.py",
        ("any-file-is-the-public-one", "digest == PUBLIC_SHA256", "True"),
        ("counts-of-batches-are-weights", "and not name.endswith(_COUNTS)", ""),
        ("weights-of-any-value", "if bad.any():", "if bad.all():"),
        ("variances-below-zero", "(name.endswith(\"running_var\") & (array < 0))", "False"),
        ("names-that-inception-lacks", "for name in sorted(given.keys() | expected.keys())", "for name in sorted(expected)"),
    ),
]

"""Mistakes with what is measured of an image."""

from tests.mutants.mutant import mutants

LINEAR = "tests/measurements/test_linear_measurements.py"
MASKS = "tests/measurements/test_masks_and_kernels.py"
MATRICES = f"{LINEAR}::test_a_measurement_and_its_transpose"
SPECTRA = f"{LINEAR}::test_singular_values_and_vectors"
REFUSED = f"{LINEAR}::test_what_cannot_be_measured_is_refused"

# fmt: off
OBSERVATIONS = [
    *mutants("measurements/linear.py", f"{LINEAR}::test_rounding_of_y_is_not_taken_for_the_image",
        ("rounding-is-a-singular-value", "s > HIDDEN * jnp.finfo(s.dtype).eps * jnp.max(s)", "s > 0"),
    ),
    *mutants("measurements/linear.py", SPECTRA,
        ("prior-through-a-once", "prior * jnp.square(s)", "prior * s"),
        ("unmeasured-modes-kept", "jnp.where(s > 0, s / jnp.where(s > 0, noise", "jnp.where(s >= 0, 1.0 / jnp.where(s > 0, noise"),
    ),
    *mutants("measurements/coordinates.py", SPECTRA,
        ("measured-pixels-in-the-first-places", ".at[:, self.kept].set(y)", ".at[:, : len(self.kept)].set(y)"),
    ),
    *mutants("measurements/axes.py", SPECTRA,
        ("right-vectors-not-turned-back", "along(factor.right.T, modes, axis)", "along(factor.right, modes, axis)"),
        ("left-vectors-not-transposed", "left[:rank], values[:rank] = u.T[:rank], s", "left[:rank], values[:rank] = u[:rank], s"),
        ("singular-values-on-another-axis", "ones[axis] = -1", "ones[axis - 1] = -1"),
    ),
    *mutants("measurements/resampling.py", MATRICES,
        ("bicubic-not-widened", "(pixels[None] - centres[:, None]) / factor", "(pixels[None] - centres[:, None])"),
        ("bicubic-of-photoshop", "a: float = -0.5", "a: float = -0.75"),
        ("bicubic-darker-at-the-edge", "return weights / weights.sum(axis=1, keepdims=True)", "return weights / factor"),
        ("bicubic-half-a-pixel-off", "factor * (np.arange(m) + 0.5)", "factor * np.arange(m) + 0.5"),
        ("edge-pixel-not-repeated", "np.minimum(i % (2 * n), (-1 - i) % (2 * n))", "np.minimum(i % (2 * n - 2), -i % (2 * n - 2))"),
    ),
    *mutants("measurements/fourier.py", MATRICES,
        ("correlation-for-convolution", "-(k // 2) for k in kernel.shape", "(k // 2) for k in kernel.shape"),
    ),
    *mutants("measurements/fourier.py", SPECTRA,
        ("phase-not-undone", "jnp.conj(phase)", "phase"),
        ("hartley-of-the-real-part", "transformed.real - transformed.imag", "transformed.real"),
    ),
    *mutants("measurements/fourier.py", REFUSED,
        ("half-the-frequencies-are-all", "np.roll(np.flip(mask, over), 1, over)", "np.flip(np.flip(mask, over), over)"),
    ),
    *mutants("measurements/matrices.py", REFUSED,
        ("affine-is-linear", "made(x - 2.0 * z), made(x) - 2.0 * made(z)", "made(x - z), made(x) - made(z) + made(0.0 * x)"),
    ),
    *mutants("measurements/masks.py", MASKS,
        ("box-known", "known = np.ones(sides, bool)\n    known[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]] = False", "known = np.zeros(sides, bool)\n    known[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]] = True"),
        ("middle-line-known", '"right": columns >= (width + 1) // 2', '"right": columns >= width // 2'),
        ("black-is-known", "return image == 255", "return image == 0"),
    ),
    *mutants("measurements/kernels.py", MASKS,
        ("motion-down-for-up", "-np.sin(np.radians(angle))", "np.sin(np.radians(angle))"),
        ("motion-of-nearest-pixels", "corner = np.clip(np.floor(points), -radius, radius - 1)\n    share = points - corner", "corner = np.clip(np.floor(points), -radius, radius - 1)\n    share = np.round(points - corner)"),
        ("motion-twice-as-far", "_between_lines(0.5 * length, direction)", "_between_lines(length, direction)"),
    ),
    *mutants("measurements/measurement.py", f"{LINEAR}::test_draws_and_likelihoods",
        ("likelihood-without-its-normaliser", "squares / variance + r.shape[1] * jnp.log(2.0 * jnp.pi * variance)", "squares / variance"),
        ("noise-by-variance", "self.linear(x) + self.std * noise", "self.linear(x) + self.std**2 * noise"),
    ),
]
# fmt: on

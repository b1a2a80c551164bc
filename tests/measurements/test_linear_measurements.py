"""Measurements against Pillow, SciPy and NumPy on the same images, as full matrices, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
import scipy.ndimage
from numpy.testing import assert_allclose

from score_sde.errors import ConfigError
from score_sde.measurements.axes import Axes, bicubic, box_mean, gaussian_blur, grey
from score_sde.measurements.coordinates import Coordinates
from score_sde.measurements.fourier import Convolution, Frequencies
from score_sde.measurements.kernels import motion_kernel
from score_sde.measurements.linear import Spectral
from score_sde.measurements.masks import half
from score_sde.measurements.matrices import LinearFunction, Matrix
from score_sde.measurements.measurement import Measurement, spectral

SHAPE = (4, 6, 2)
RNG = np.random.default_rng(0)
MATRIX = RNG.standard_normal((5, 8))
RANK_ONE = np.outer(np.arange(1.0, 4.0), np.arange(1.0, 6.0))
WEIGHTS = (0.299, 0.587, 0.114)
KERNEL = np.array([[1.0, 2.0, 0.5], [0.0, 3.0, -1.0], [0.25, 0.0, 1.0]])
SOME = np.zeros((4, 6), bool)
SOME[[0, 1, 3], [0, 2, 4]] = True
FREQUENCIES = np.zeros((4, 6), bool)
FREQUENCIES[[0, 0, 0, 1, 3, 2], [0, 1, 5, 2, 4, 3]] = True


def gaussian_kernel(size, std):
    line = np.exp(-np.square(np.arange(size) - size // 2) / (2 * std**2))
    return np.outer(line, line) / np.square(line.sum())


def each_channel(function):
    return lambda x: np.stack([function(channel) for channel in np.moveaxis(x, -1, 0)], axis=-1)


def pillow(resampling):
    def shrink(x):
        image = PIL.Image.fromarray(x.astype(np.float32))
        return np.asarray(image.resize((3, 2), resampling), np.float64)

    return each_channel(shrink)


def filtered(mode):
    return each_channel(lambda x: scipy.ndimage.gaussian_filter(x, 0.7, mode=mode, truncate=4.0))


def frequencies(x):
    coefficients = np.fft.fft2(x, axes=(0, 1), norm="ortho")[FREQUENCIES]
    return (coefficients.real - coefficients.imag).ravel()


# A, what it does to one image, and how far apart they may be (Pillow computes in float32).
CASES = {
    "mask": (lambda: Coordinates.of_mask(SOME, SHAPE), lambda x: x[SOME].ravel(), 0.0),
    "half": (lambda: Coordinates.of_mask(half((4, 6)), SHAPE), lambda x: x[:, :3].ravel(), 0.0),
    "places": (lambda: Coordinates.of_mask(np.arange(5) % 2 == 0, (5,)), lambda x: x[::2], 0.0),
    "grey": (lambda: grey((2, 3, 3), WEIGHTS), lambda x: x @ np.array(WEIGHTS)[:, None], 1e-15),
    "box": (lambda: box_mean(SHAPE, 2), pillow(PIL.Image.Resampling.BOX), 1e-6),
    "bicubic": (lambda: bicubic(SHAPE, 2), pillow(PIL.Image.Resampling.BICUBIC), 1e-6),
    "blur": (lambda: gaussian_blur(SHAPE, 0.7), filtered("reflect"), 1e-14),
    "blur-periodic": (lambda: gaussian_blur(SHAPE, 0.7, "periodic"), filtered("wrap"), 1e-14),
    "blur-zero": (lambda: gaussian_blur(SHAPE, 0.7, "zero"), filtered("constant"), 1e-14),
    "kernel": (
        lambda: Convolution.by_kernel(KERNEL, SHAPE),
        each_channel(lambda x: scipy.ndimage.convolve(x, KERNEL, mode="wrap")),
        1e-14,
    ),
    "motion": (
        lambda: Convolution.by_kernel(motion_kernel(2.0), SHAPE),
        lambda x: 0.5 * x + 0.25 * (np.roll(x, 1, 1) + np.roll(x, -1, 1)),
        1e-14,
    ),
    "kernel-of-a-line": (
        lambda: Convolution.by_kernel([1.0, 2.0, 4.0], (5,)),
        lambda x: np.roll(x, -1) + 2.0 * x + 4.0 * np.roll(x, 1),
        1e-14,
    ),
    "frequencies": (lambda: Frequencies.of_mask(FREQUENCIES, SHAPE), frequencies, 1e-14),
    "matrix": (lambda: Matrix.of(MATRIX, (2, 2, 2)), lambda x: MATRIX @ x.ravel(), 1e-14),
    "tall-matrix": (lambda: Matrix.of(MATRIX.T, (5,)), lambda x: MATRIX.T @ x, 1e-14),
    "rank-one": (lambda: Matrix.of(RANK_ONE, (5,)), lambda x: RANK_ONE @ x, 1e-13),
    "function": (
        lambda: LinearFunction.of(lambda x: jnp.cumsum(x, axis=0)[1:], (3, 2)),
        lambda x: np.cumsum(x, axis=0)[1:],
        1e-14,
    ),
}  # fmt: skip


KERNELS = ((0.3, 0.7), (0.0, 2.0))  # noise and prior of regularised inverses


def columns(function, shape):
    """A linear function of batches of this shape, as a matrix."""
    n = int(np.prod(shape))
    out = function(jnp.eye(n).reshape(n, *shape))
    return out.reshape(n, -1).T


@jax.jit
def every_matrix(linear):
    """All that A says of itself, in one program."""
    measured = linear.measured_shape
    found = {"matrix": linear.matrix(), "transpose": columns(linear.transpose, measured)}
    if isinstance(linear, Spectral):
        found |= {
            "values": linear.singular_values,
            "modes": columns(linear.modes, linear.shape),
            "image": columns(linear.image, linear.shape),
            "measured_modes": columns(linear.measured_modes, measured),
            "pseudo_inverse": columns(linear.pseudo_inverse, measured),
            "regularized": [
                columns(lambda y, n=n, p=p: linear.regularized(y, n, p), measured)
                for n, p in KERNELS
            ],
        }
    return found


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """A, its matrix elsewhere, how far apart they may be, and `every_matrix`."""
    build, truth, within = CASES[request.param]
    with jax.enable_x64(True):
        linear = build()
        d = int(np.prod(linear.shape))
        images = np.eye(d).reshape(d, *linear.shape)
        matrix = np.stack([np.asarray(truth(x)).ravel() for x in images], axis=1)
        return linear, matrix, within, jax.tree.map(np.asarray, every_matrix(linear))


def test_a_measurement_and_its_transpose(case):
    _, matrix, within, found = case
    assert_allclose(found["matrix"], matrix, rtol=0, atol=within)
    assert_allclose(found["transpose"], matrix.T, rtol=0, atol=max(within, 1e-15))


def test_singular_values_and_vectors(case):
    """U S V^T is A with orthogonal V; pseudo-inverse and regularized inverses are those of the matrix."""
    linear, matrix, within, found = case
    if not isinstance(linear, Spectral):
        with pytest.raises(ConfigError, match="DDRM needs the singular values of A, which Lin"):
            spectral(Measurement.of(linear, 0.0), "DDRM")
        return
    rounding = max(5 * within, 1e-13)
    s, vt, v, ut = found["values"].ravel(), found["modes"], found["image"], found["measured_modes"]
    assert_allclose(v @ vt, np.eye(len(v)), atol=1e-13)
    assert_allclose(vt.T, v, atol=1e-13)
    assert_allclose((ut.T * s) @ vt, matrix, atol=rounding)
    assert_allclose(np.sort(s)[::-1][: min(matrix.shape)], np.linalg.svd(matrix)[1], atol=rounding)
    inverse, exact = found["pseudo_inverse"], found["matrix"]
    assert_allclose(inverse, np.linalg.pinv(exact), rtol=0, atol=1e-9)
    assert_allclose(exact @ inverse @ exact, exact, atol=1e-11)
    for (noise, prior), got in zip(KERNELS, found["regularized"], strict=True):
        kernel = noise * np.eye(len(exact)) + prior * exact @ exact.T
        assert_allclose(got, exact.T @ np.linalg.pinv(kernel, rcond=1e-11), rtol=0, atol=1e-9)


def test_an_adjoint_in_float32():
    """<A x, y> = <x, A^T y>, also through the singular values."""
    x = jnp.asarray(RNG.standard_normal((3, *SHAPE)), jnp.float32)

    @jax.jit
    def both(linear, x):
        measured = linear(x)
        back = linear.pseudo_inverse(measured)
        return measured, linear.transpose(measured + 1.0), back, linear(back)

    for linear in (Coordinates.of_mask(SOME, SHAPE), Convolution.by_kernel(KERNEL, SHAPE)):
        measured, transposed, back, again = both(linear, x)
        assert_allclose(np.vdot(measured, measured + 1.0), np.vdot(x, transposed), rtol=1e-5)
        assert_allclose(again, measured, atol=1e-4)
        assert back.dtype == jnp.float32


@pytest.mark.parametrize(
    "build",
    [
        lambda: gaussian_blur((8, 8, 1), 2.0),
        lambda: Matrix.of(gaussian_blur((8, 8, 1), 2.0).matrix(), (8, 8, 1)),
        lambda: Convolution.by_kernel(gaussian_kernel(15, 2.0), (16, 16, 1)),
    ],
    ids=["axes", "matrix", "convolution"],
)
def test_rounding_of_y_is_not_taken_for_the_image(build):
    """In float32, whose rounding is 1e-7: singular values fall to 1e-8 and less. A^+ A is a projection, which makes no image longer, and A of
    the result is y, to what the modes below 1e-5 have of it."""
    linear = build()
    x = np.random.default_rng(1).uniform(-1, 1, (3, *linear.shape)).astype(np.float32)
    y = linear(jnp.asarray(x))
    found = linear.pseudo_inverse(y)
    assert found.dtype == jnp.float32
    for image, of in zip(np.asarray(found), x, strict=True):
        assert np.linalg.norm(image) <= 1.01 * np.linalg.norm(of)
    assert_allclose(linear(found), y, atol=1e-4)
    assert 3 < np.count_nonzero(linear.singular_values) < 0.9 * x[0].size


def test_the_default_blur_is_undone_without_noise():
    """All of its singular values, at least 5e-5, are above rounding."""
    linear = gaussian_blur((16, 16, 1), 1.0)
    x = np.random.default_rng(1).uniform(-1, 1, (1, 16, 16, 1)).astype(np.float32)
    assert_allclose(linear.pseudo_inverse(linear(jnp.asarray(x))), x, atol=0.01)


def test_a_measurement_is_a_pytree():
    """Another mask with as many pixels reuses the compiled program."""
    traced = []

    @jax.jit
    def measure(linear, x):
        traced.append(None)
        return linear(x)

    x = jnp.arange(10.0).reshape(2, 5)
    for first in (0, 2):
        got = measure(Coordinates.of_mask(np.arange(5) // 2 == first // 2, (5,)), x)
        assert_allclose(got, x[:, first : first + 2][:, : got.shape[1]])
        if first == 0:
            measure(Coordinates.of_mask(np.arange(5) // 2 == 1, (5,)), x)
            assert len(traced) == 1


def test_draws_and_likelihoods(x64):
    """A draw has the requested noise; its likelihood agrees with SciPy, and its residual with the size of the noise."""
    measurement = Measurement.of(Matrix.of(MATRIX, (8,)), 0.3)
    x, noise = RNG.standard_normal((2, 8)), RNG.standard_normal((2, 5))

    @jax.jit
    def numbers(measurement, x, noise):
        y = measurement.draw(x, noise)
        exact = Measurement.of(measurement.linear, 0.0)
        likelihood = measurement.log_likelihood(y, x)
        return y, likelihood, measurement.distance(y, x), exact.distance(y, x)

    y, likelihood, distance, unscaled = numbers(measurement, jnp.asarray(x), jnp.asarray(noise))
    assert_allclose(y, x @ MATRIX.T + 0.3 * noise, atol=1e-14)
    law = scipy.stats.norm(0.0, 0.3)
    assert_allclose(likelihood, law.logpdf(np.asarray(y) - x @ MATRIX.T).sum(axis=1), rtol=1e-12)
    root_mean = np.sqrt(np.mean(noise**2, axis=1))
    assert_allclose(distance, root_mean, rtol=1e-12)
    assert_allclose(unscaled, 0.3 * root_mean, rtol=1e-12)


REFUSED = {
    "sigma_y=-1": lambda: Measurement.of(Matrix.of(MATRIX, (8,)), -1),
    r"shape \(5, 8\) for images of shape \(3,\): expected \(m, 3\)": lambda: Matrix.of(MATRIX, (3,)),
    "expected a matrix": lambda: Matrix.of(np.full((2, 3), np.nan), (3,)),
    "expected True where": lambda: Coordinates.of_mask(np.zeros(3, bool), (3,)),
    "a mask of float64": lambda: Coordinates.of_mask(np.ones(3), (3,)),
    r"expected \(4, 6, 2\), or \(4, 6\)": lambda: Coordinates.of_mask(SOME.T, SHAPE),
    r"k without -k at \(0, 2\)": lambda: Frequencies.of_mask(FREQUENCIES ^ (np.arange(24) == 2).reshape(4, 6), SHAPE),
    "by 4 of a side of 6 pixels": lambda: box_mean((4, 6, 1), 4),
    "by 0 of a side": lambda: bicubic((4, 6, 1), 0),
    "std=0": lambda: gaussian_blur(SHAPE, 0.0),
    "edge='wrap' is unknown": lambda: gaussian_blur(SHAPE, 1.0, "wrap"),
    r"kernel of shape \(2, 2\)": lambda: Convolution.by_kernel(np.ones((2, 2)), SHAPE),
    r"no longer than \(4, 6\)": lambda: Convolution.by_kernel(np.ones((5, 5)), SHAPE),
    "2 matrices for axes": lambda: Axes.of_matrices((None, None), SHAPE),
    "axes of .4, 6, 3. pixels": lambda: grey(SHAPE),
    "that JAX cannot transpose": lambda: LinearFunction.of(jnp.tanh, (3,)),
    "differ by": lambda: LinearFunction.of(lambda x: x + 1.0, (3,)),
}  # fmt: skip


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_be_measured_is_refused(words):
    with pytest.raises(ConfigError, match=words):
        REFUSED[words]()


def test_images_of_another_shape_are_refused():
    with pytest.raises(Exception, match="what is measured has the shape"):
        grey((2, 3, 3))(jnp.ones((2, 3, 2, 3)))

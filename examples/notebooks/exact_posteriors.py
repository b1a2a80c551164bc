# %% [markdown]
# # Restoring images with exact posteriors
#
# A Gaussian with the mean and covariance of the digits is a poor model of digits, but its posterior given a measurement is known in
# closed form. So it shows which methods draw from the posterior, and which only appear to.

# %%
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from score_sde.guidance.exact_posterior import exact_posterior
from score_sde.guidance.likelihood_score import dps, mmps, pigdm
from score_sde.measurements.coordinates import Coordinates
from score_sde.measurements.masks import half
from score_sde.measurements.measurement import Measurement
from score_sde.models.exact import GaussianScore, MixtureScore
from score_sde.samplers.grids import log_snr_grid
from score_sde.samplers.noise import IndexedNoise
from score_sde.samplers.sde import ReverseSDE
from score_sde.sde_lib.vp import VP

OUT = Path("runs/notebooks")
OUT.mkdir(parents=True, exist_ok=True)
STEPS, DRAWS, SHAPE = 100, 500, (8, 8, 1)

digits = load_digits()
images = digits.images.reshape(-1, 64) / 8.0 - 1.0  # in [-1, 1]
sde = VP()


def gaussian(rows):
    """Mean and covariance of images, with 1e-3 added to all variances to make it nonsingular."""
    return rows.mean(axis=0), np.cov(rows.T) + 1e-3 * np.eye(64)


model = GaussianScore.create(*map(jnp.asarray, gaussian(images)), sde)

# %% [markdown]
# ## The measurement
#
# The upper half of a digit is measured with noise of standard deviation 0.3: $y = A x_0 + \sigma_y n$.

# %%
measurement = Measurement.of(Coordinates.of_mask(half(SHAPE[:2], "top"), SHAPE), 0.3)
original = jnp.asarray(images[2].reshape(1, *SHAPE))
y = measurement.draw(original, jax.random.normal(jax.random.key(0), (1, 32)))

# %% [markdown]
# ## Four scores given y
#
# Each is a score model that wraps the one above. The same sampler, ShARK for the reverse SDE, draws from all of them.

# %%
methods = {
    "exact": exact_posterior(model, measurement, sde),
    "MMPS": mmps(model, measurement, sde, iterations=8),
    "PiGDM": pigdm(model, measurement, sde),
    "DPS": dps(model, measurement, sde),
}
sampler = ReverseSDE(sde, "shark")
grid = log_snr_grid(sde, sde.T, 1e-3, STEPS)
noise = IndexedNoise.for_images(jax.random.key(1), jnp.arange(DRAWS))
like = jnp.zeros((DRAWS, *SHAPE))
given = {"measured": jnp.repeat(y, DRAWS, axis=0)}

draws = {
    name: np.asarray(jax.jit(lambda score: sampler(score, grid, noise, like).x)(score.given(given)))
    for name, score in methods.items()
}

# %% [markdown]
# ## Which methods are right
#
# The mean and standard deviation of the posterior are known. Draws from it are on average at a distance of about 1 from the measurement, in
# units of $\sigma_y$.

# %%
law = methods["exact"].law(y[0])
covariance = np.asarray((law.eigenvectors * law.eigenvalues) @ law.eigenvectors.T)
mean, std = np.asarray(law.mean), np.sqrt(np.diag(covariance))
wrong = {}
print("            error of the mean   std over the exact one   |y - A x|")
for name, x in draws.items():
    flat = x.reshape(DRAWS, -1)
    wrong[name] = float(np.sqrt(np.mean((flat.mean(axis=0) - mean) ** 2)))
    ratio = float(np.mean(flat.std(axis=0)[32:] / std[32:]))  # over the unknown half
    distance = float(np.mean(measurement.distance(given["measured"], jnp.asarray(x))))
    print(f"{name:10} {wrong[name]:15.3f} {ratio:20.2f} {distance:16.2f}")

columns = [("original", original[0]), ("exact mean", mean.reshape(SHAPE))]
columns += [(name, draws[name][0]) for name in methods]
columns += [(f"std, {name}", 2 * draws[name].std(axis=0) - 1) for name in methods]
figure, axes = plt.subplots(1, len(columns), figsize=(13, 1.8))
for place, (title, image) in zip(axes, columns, strict=True):
    place.imshow(np.asarray(image)[..., 0], cmap="gray", vmin=-1, vmax=1)
    place.set_title(title, fontsize=8)
    place.axis("off")
figure.savefig(OUT / "posteriors.png")
assert wrong["exact"] < 0.05
assert wrong["MMPS"] < 0.05

# %% [markdown]
# ## Several modes
#
# A mixture with one Gaussian per digit is a better model of digits. Its posterior is a mixture too, whose weights say which digits the
# upper half could belong to.

# %%
parts = [gaussian(images[digits.target == k]) for k in range(10)]
of_digits = MixtureScore.create(
    jnp.full(10, 0.1), jnp.array([m for m, _ in parts]), jnp.array([c for _, c in parts]), sde
)
posterior = exact_posterior(of_digits, measurement, sde)
for k, weight in enumerate(posterior.law(y[0]).weights):
    if weight > 0.01:
        print(f"digit {k}: {float(weight):.2f}")
many = jax.jit(lambda score: sampler(score, grid, noise, like).x)(posterior.given(given))
figure, axes = plt.subplots(1, 10, figsize=(10, 1.3))
for place, image in zip(axes, np.asarray(many), strict=False):
    place.imshow(image[..., 0], cmap="gray", vmin=-1, vmax=1)
    place.axis("off")
figure.savefig(OUT / "posterior_of_a_mixture.png")

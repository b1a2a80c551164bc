# %% [markdown]
# # A process of your own
#
# A forward process is defined by two functions of time: the mean coefficient $\alpha$ and the standard deviation $\sigma$ of $x_t$ given
# $x_0$. Drift, diffusion, the reverse SDE and the probability-flow ODE are derived from them.

# %%
import dataclasses
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

from score_sde.configs.vp_digits import get_config
from score_sde.likelihood.log_density import log_density
from score_sde.likelihood.trace import ExactTrace
from score_sde.models.exact import FiniteDataScore, GaussianScore
from score_sde.samplers.adaptive import AdaptiveSolver
from score_sde.samplers.exponential.sampler import ExponentialSampler
from score_sde.samplers.grids import log_snr_grid
from score_sde.samplers.noise import IndexedNoise
from score_sde.samplers.sde import ReverseSDE
from score_sde.sde_lib import SDE, SDES
from score_sde.trained import Trained
from score_sde.training.score_task import train

OUT = Path("runs/notebooks")
OUT.mkdir(parents=True, exist_ok=True)
UPDATES = int(os.environ.get("UPDATES", "20"))  # 1300 for legible digits


# %% [markdown]
# ## Define it
#
# The straight path of flow matching. It ends before $t = 1$, where $\alpha$ would vanish.


# %%
@dataclasses.dataclass(frozen=True)
class Straight(SDE):
    """x_t = (1 - t) x_0 + t z."""

    T = 0.99

    def alpha(self, t):
        return 1.0 - t

    def sigma(self, t):
        return t


sde = Straight()
t = jnp.array([0.1, 0.5, 0.9])
print("drift coefficient", sde.drift_coefficient(t), "should be", -1 / (1 - t))
print("diffusion squared", sde.diffusion_squared(t), "should be", 2 * t / (1 - t))
np.testing.assert_allclose(sde.drift_coefficient(t), -1 / (1 - t), rtol=1e-5)
np.testing.assert_allclose(sde.diffusion_squared(t), 2 * t / (1 - t), rtol=1e-4)

# %% [markdown]
# ## Sample with it
#
# Two moons of 400 points, slightly blurred by stopping at a time above 0. The score of a finite set of points is known in closed form.

# %%
points = jnp.asarray(make_moons(400, noise=0.05, random_state=0)[0], jnp.float32)
moons = FiniteDataScore(points, sde)
grid = log_snr_grid(sde, sde.T, 0.03, 40)
noise = IndexedNoise.for_images(jax.random.key(0), jnp.arange(1000))
like = jnp.zeros((1000, 2))
figure, axes = plt.subplots(1, 3, figsize=(11, 3.3), sharex=True, sharey=True)
axes[0].scatter(*points.T, s=3)
axes[0].set_title("data")
samplers = {"UniPC-3": ExponentialSampler(sde, "unipc_3"), "ShARK": ReverseSDE(sde, "shark")}
for place, (name, sampler) in zip(axes[1:], samplers.items(), strict=True):
    drawn = sampler(moons, grid, noise, like)
    place.scatter(*drawn.x.T, s=3)
    place.set_title(f"{name}, {int(np.max(drawn.nfe))} evaluations")
    nearest = np.min(np.linalg.norm(drawn.x[:, None] - 0.97 * points, axis=-1), axis=1)
    assert (
        np.quantile(nearest, 0.99) < 0.15
    )  # about four standard deviations of the remaining noise
figure.savefig(OUT / "moons.png")

# %% [markdown]
# ## Measure with it
#
# The log-density of a Gaussian, compared with the exact one.

# %%
gaussian = GaussianScore.create(jnp.zeros(2), jnp.array([[1.0, 0.5], [0.5, 1.0]]), sde)
x = jax.random.normal(jax.random.key(1), (64, 2))
keys = jax.random.split(jax.random.key(2), 64)
solver = AdaptiveSolver("dopri5", 1e-5, 1e-5)
found = log_density(gaussian, sde, x, ExactTrace(2), keys, 1e-3, solver)
exact = gaussian.log_density(x, jnp.full(64, 1e-3))
# At T the distribution is N(0, alpha^2 S + sigma^2 I) and the prior N(0, sigma^2 I): a difference of about 1e-4.
print(f"largest difference: {float(jnp.max(jnp.abs(found.nats - exact))):.1e} nats")
assert np.max(np.abs(found.nats - exact)) < 3e-3

# %% [markdown]
# ## Train with it
#
# A configuration needs only a name in `SDES`. In the project itself this is a line in `sde_lib/__init__.py`.

# %%
SDES["straight"] = Straight
config = get_config()
config.sde.name = "straight"
config.model.update(nf=16, num_res_blocks=1, ch_mult=(1,), attn_resolutions=())
config.training.update(n_iters=UPDATES, eval_freq=0, snapshot_freq=0, checkpoint_freq=UPDATES)
config.optim.warmup = min(100, UPDATES)
workdir = OUT / f"straight-{UPDATES}"
print(f"loss {train(config, workdir)['loss']:.3f}")

trained = Trained.load(workdir, options={"sampling.grid.name": "log_snr", "sampling.eps": 1e-3})
images = trained.sample(16, sampler="unipc_3", seed=0)
figure, axes = plt.subplots(2, 8, figsize=(8, 2.2))
for place, image in zip(axes.ravel(), images, strict=True):
    place.imshow(image[..., 0], cmap="gray")
    place.axis("off")
figure.savefig(OUT / "straight_digits.png")
assert images.shape == (16, 8, 8, 1)

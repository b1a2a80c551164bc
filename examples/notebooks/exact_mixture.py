# %% [markdown]
# # A mixture whose score is exact
#
# Nothing is trained here. The data are numbers drawn from a mixture of two Gaussians, so the score at every noise level is known in
# closed form. Samplers and likelihoods use it like a network, and all of their results can be checked.

# %%
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import kstest, norm

from score_sde.configs.default import get_config
from score_sde.likelihood.bound import continuous_bound
from score_sde.likelihood.log_density import log_density
from score_sde.likelihood.trace import ExactTrace
from score_sde.models.exact import ProductMixtureScore
from score_sde.samplers.adaptive import AdaptiveSolver
from score_sde.samplers.entries import ENTRIES
from score_sde.samplers.fixed_steps import GridSolver
from score_sde.samplers.grids import log_snr_grid
from score_sde.samplers.noise import IndexedNoise
from score_sde.samplers.ode import ProbabilityFlow
from score_sde.sde_lib.vp import VP

OUT = Path("runs/notebooks")
OUT.mkdir(parents=True, exist_ok=True)
EPS = 1e-3
weights, means, variances = np.array([0.3, 0.7]), np.array([-1.0, 0.6]), np.array([0.04, 0.09])

sde = VP()
score = ProductMixtureScore(jnp.array(weights), jnp.array(means), jnp.array(variances), sde)

# %% [markdown]
# ## The density and its score, from data to noise
#
# $p_t$ is the mixture, scaled by $\alpha$ and blurred by $\sigma$. At $t = T$ it is nearly a standard normal distribution.

# %%
x = jnp.linspace(-3, 3, 301)[:, None]
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5))
for t in (EPS, 0.1, 0.3, 1.0):
    times = jnp.full(len(x), t)
    left.plot(x[:, 0], jnp.exp(score.log_density(x, times)), label=f"t = {t:g}")
    right.plot(x[:, 0], score(x, times)[:, 0])
left.set(title="density", xlabel="x")
right.set(title="score", xlabel="x", ylim=(-20, 20))
left.legend()
figure.tight_layout()
figure.savefig(OUT / "mixture_score.png")

# %% [markdown]
# ## The flow
#
# In one dimension the probability-flow ODE moves each point along its own quantile, so trajectories never cross.

# %%
starts = jnp.asarray(norm.ppf(np.linspace(0.02, 0.98, 25)))[:, None]
grid = log_snr_grid(sde, sde.T, EPS, 100)
flow = ProbabilityFlow(sde, GridSolver("heun"))
path = flow(score, grid, None, starts, starts, keep_path=True).path
figure, axes = plt.subplots(figsize=(6, 3.5))
axes.plot(grid, path[:, :, 0], color="C0", linewidth=0.8)
axes.set(title="trajectories of the probability flow", xlabel="t", ylabel="x")
figure.savefig(OUT / "mixture_flow.png")
assert np.all(np.diff(np.asarray(path[:, :, 0]), axis=1) > 0)


# %% [markdown]
# ## Samplers
#
# Each draws 4,000 numbers with at most 40 evaluations of the score. They are compared by the Kolmogorov-Smirnov distance to the exact
# distribution; for 4,000 true samples it exceeds the band with a probability of one in a million.


# %%
def exact_cdf(x):
    """Cumulative distribution function of the mixture at time EPS."""
    alpha, sigma = float(sde.alpha(jnp.asarray(EPS))), float(sde.sigma(jnp.asarray(EPS)))
    stds = np.hypot(alpha * np.sqrt(variances), sigma)
    return norm.cdf((x[:, None] - alpha * means) / stds) @ weights


number = 4000
band = np.sqrt(np.log(2 / 1e-6) / (2 * number))
like = jnp.zeros((number, 1))
noise = IndexedNoise.for_images(jax.random.key(0), jnp.arange(number))
options = get_config().sampling
options.update(eps=EPS, noise_removal=False)
distances = {}
names = "euler,heun,edm,ddim,dpm_solver_pp_2m,unipc_3,euler_maruyama,ancestral_sampling,reverse_diffusion + langevin,sde shark"
for name in names.split(","):
    entry = ENTRIES[name]
    configured = entry.with_steps(entry.steps_within(40), "log_snr").build(options, sde)
    drawn = configured.sampler(score, configured.grid, noise, like)
    distances[name] = kstest(np.asarray(drawn.x[:, 0]), exact_cdf).statistic
    print(f"{name:30} {int(np.max(drawn.nfe)):3} evaluations   distance {distances[name]:.4f}")

figure, axes = plt.subplots(figsize=(7, 3.5))
axes.barh(list(distances), list(distances.values()))
axes.axvline(band, color="k", linewidth=0.8)
axes.set(title="distance to the exact law; the line is the band", xscale="log")
figure.tight_layout()
figure.savefig(OUT / "mixture_samplers.png")
assert distances["unipc_3"] < band

# %% [markdown]
# ## Likelihood and bound
#
# The density of the ODE is compared with the exact one, and the bound of the SDE with the entropy, which is the least value that any
# model can attain.

# %%
rng = np.random.default_rng(0)
component = rng.choice(2, size=2000, p=weights)
x0 = jnp.asarray(means[component] + np.sqrt(variances)[component] * rng.standard_normal(2000))
times, keys = jnp.full(2000, EPS), jax.random.split(jax.random.key(1), 2000)
x_eps = (sde.alpha(times) * x0 + sde.sigma(times) * jax.random.normal(jax.random.key(2), (2000,)))[
    :, None
]

solver = AdaptiveSolver("dopri5", 1e-5, 1e-5)
found = log_density(score, sde, x_eps, ExactTrace(1), keys, EPS, solver)
exact = score.log_density(x_eps, times)
bound = continuous_bound(score, sde, x0[:, None], keys, EPS, draws=64)

points = jnp.linspace(-4, 4, 8001)[:, None]
density = score.log_density(points, jnp.full(len(points), EPS))
entropy = -np.trapezoid(np.exp(density) * density, points[:, 0])
error = float(jnp.std(bound.nats) / np.sqrt(2000))
print(
    f"largest difference of the ODE's ln p to the formula: {float(jnp.max(jnp.abs(found.nats - exact))):.1e} nats"
)
print(f"entropy {entropy:.4f} nats, bound {float(jnp.mean(bound.nats)):.4f} +- {error:.4f}")
# The ODE uses the prior instead of p_T; their means differ by 8e-4, so ln p differs by x times that.
assert np.max(np.abs(found.nats - exact)) < 5e-3
assert abs(float(jnp.mean(bound.nats)) - entropy) < 5 * error

# %% [markdown]
# # Digits, from training to conditional samples
#
# After the few updates made here, the digits are rough. `UPDATES=1300 python examples/notebooks/digits.py` gives those in the documentation.

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from score_sde import data
from score_sde.configs.subvp_digits import get_config
from score_sde.data.loader import labels_of
from score_sde.trained import Trained
from score_sde.training.score_task import train

OUT = Path("runs/notebooks")
OUT.mkdir(parents=True, exist_ok=True)
UPDATES = int(os.environ.get("UPDATES", "100"))


def show(images, name, rows=1):
    """Save images (n, 8, 8, 1) as a grid."""
    figure, axes = plt.subplots(
        rows, len(images) // rows, figsize=(len(images) // rows, 1.1 * rows)
    )
    for place, image in zip(np.ravel(axes), images, strict=True):
        place.imshow(image[..., 0], cmap="gray", vmin=0, vmax=16)
        place.axis("off")
    figure.savefig(OUT / name)


# %% [markdown]
# ## The configuration
#
# `:conditional` conditions the network on the digit, and drops the label for one image in ten.

# %%
config = get_config("conditional")
config.training.update(n_iters=UPDATES, eval_freq=UPDATES, snapshot_freq=0, checkpoint_freq=UPDATES)
if UPDATES < 500:  # a smaller network, which compiles and learns faster
    config.model.update(nf=16, attn_resolutions=(), ema_rate=0.9)
    config.optim.warmup = UPDATES // 3
test = data.load(config).test
held_out = test.take(range(20))
show(held_out.images, "digits_held_out.png", rows=2)

# %% [markdown]
# ## Train
#
# If `train` is called again with the same folder and more updates, it resumes training.

# %%
workdir = OUT / f"digits-{UPDATES}"
figures = train(config, workdir)
print(f"step {figures['step']}, loss {figures['loss']:.3f}, held out {figures['eval_loss']:.3f}")
# A network that always predicts zero noise has a loss of 1.
assert figures["eval_loss"] < 0.6

# %% [markdown]
# ## Sample
#
# The folder is all that is needed, since it contains the configuration. Each digit is drawn twice by UniPC in 15 steps, first without
# and then with guidance.

# %%
options = {
    "sampling.exponential.num_steps": 15,
    "sampling.grid.name": "log_snr",
    "sampling.batch_size": 20,
    "sampling.threshold": "static",
    "likelihood.rtol": 1e-2,
    "likelihood.atol": 1e-2,
}
trained = Trained.load(workdir, options=options)
for weight in (0.0, 2.0):
    images = trained.sample(20, sampler="unipc_3", labels=range(10), guidance=weight, seed=1)
    show(images, f"digits_guided_{weight:g}.png", rows=2)
    assert images.shape == (20, 8, 8, 1)
    assert images.max() <= 16

# %% [markdown]
# ## Measure
#
# ln p(x | digit) of held-out images for each digit; by Bayes' rule this is a classifier.

# %%
x = trained.encode(held_out.images)
nats = np.stack([trained.log_density(x, labels=[k] * len(x)) for k in range(10)])
right = np.mean(nats.argmax(axis=0) == labels_of(test)[:20])
print(f"{right:.0%} of {len(x)} held-out digits are named right")

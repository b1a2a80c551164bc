"""Use a trained folder from a script: python examples/from_a_script.py runs/subvp_digits-conditional

Train one first: python main.py --config configs/subvp_digits.py:conditional --mode train
(from anywhere, after `pip install -e .` in the checkout).
"""

import sys

import numpy as np

from score_sde.trained import Trained

trained = Trained.load(
    sys.argv[1],
    options={"sampling.exponential.num_steps": 10, "sampling.grid.name": "log_snr"},
)
threes = trained.sample(4, sampler="unipc_3", labels=[3], guidance=1.0, seed=0)

x = trained.encode(threes)  # in [-1, 1], at the middle of each level
as_digit = np.stack([trained.log_density(x, labels=[k] * len(x)) for k in range(10)])
print(f"{len(threes)} samples of step {trained.step}, levels {threes.min()} to {threes.max()}")
print("ln p(x | 3), in nats:", np.round(as_digit[3], 1))
print("taken for", as_digit.argmax(axis=0))

"""FID's InceptionV3 with random weights, and results of other programs (tests/golden/peers/inception_fid.npz).

The weights are not stored: they are drawn by the recipe of the golden data.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from score_sde.foreign_weights import torch_write

GOLDEN = Path(__file__).parents[1] / "golden" / "peers" / "inception_fid.npz"
SCALES = {  # of z, standard normal
    "conv.weight": lambda z: z * np.sqrt(2 / math.prod(z.shape[1:])),
    "bn.weight": lambda z: 1 + 0.1 * z,
    "bn.bias": lambda z: 0.1 * z,
    "bn.running_mean": lambda z: 0.1 * z,
    "bn.running_var": lambda z: np.exp(0.2 * z),
    "fc.weight": lambda z: z / np.sqrt(2048),
    "fc.bias": lambda z: 0.1 * z,
}


@pytest.fixture(scope="session")
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.fixture(scope="session")
def drawn(golden):
    """The weights under the names of the public file."""
    rng = np.random.Generator(np.random.PCG64(int(golden["seed"])))
    shapes = json.loads(str(golden["param_shapes_json"]))
    weights = {}
    for name, shape in shapes.items():
        kind = ".".join(name.split(".")[-2:])
        weights[name] = SCALES[kind](rng.standard_normal(shape)).astype(np.float32)
    assert list(shapes) == list(golden["param_names"])
    for key, figure in (("first", lambda w: w.flat[0]), ("last", lambda w: w.flat[-1])):
        np.testing.assert_array_equal([figure(w) for w in weights.values()], golden[f"param_{key}"])
    sums = [w.sum(dtype=np.float64) for w in weights.values()]
    np.testing.assert_allclose(sums, golden["param_sum"], rtol=1e-12, atol=1e-9)
    return weights


@pytest.fixture(scope="session")
def weights_file(drawn, tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "drawn.pth"
    torch_write.save(path, drawn)
    yield path
    path.unlink()  # 96 MB


def images(golden, key):
    return golden[f"{key}/images"].transpose(0, 2, 3, 1)

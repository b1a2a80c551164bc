"""Times of imports: TensorFlow never, and nothing heavy before a dataset is loaded."""

import subprocess
import sys
from pathlib import Path

from score_sde import data

ROOT = Path(data.__file__).parents[1]
HEAVY = ("tensorflow", "tensorflow_datasets", "jax", "grain", "PIL", "sklearn")


def imported_after(code):
    """Which of HEAVY are in sys.modules after the code ran in a fresh process."""
    program = f"import sys\n{code}\nprint('imported:', *[m for m in {HEAVY!r} if m in sys.modules])"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()[1:]


def test_importing_data_is_light():
    assert imported_after("import score_sde.data") == []


def test_scaling_needs_jax_only():
    assert imported_after("import score_sde.data.scaling") == ["jax"]


def test_loading_preparing_and_streaming_never_import_tensorflow(tmp_path):
    modules = imported_after(
        "from ml_collections import ConfigDict\n"
        "from score_sde import data\n"
        "from score_sde.data.options import DataOptions\n"
        "options = DataOptions.defaults()\n"
        f"options.update(num_levels=17, in_memory='no', data_dir={str(tmp_path)!r})\n"
        "next(data.load(ConfigDict({'data': options})).train.batches(0, 8))"
    )
    assert "tensorflow_datasets" in modules
    assert "tensorflow" not in modules

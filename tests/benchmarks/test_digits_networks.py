"""Networks at equal training time: the number of updates, the row of a network with known likelihood, and resuming the table."""

import json
import math
import os
import signal
import threading
import time

import pytest

from benchmarks import digits_networks
from benchmarks.digits_networks import (
    CONFIGS,
    Row,
    main,
    measure,
    prepared,
    stretched,
    trained_in,
)
from score_sde.configs.subvp_digits import get_config
from score_sde.errors import UserError
from score_sde.models.networks import NETWORKS
from tests.benchmarks.still import Still, still

ROW = Row("dit", "subvp", 1000, 50, 0.2, 2.5, 0.01, 40.0, 0.05, 0.03, 0.07, 0.001, 0.0004)
REAL = {"num_images": 1500, "frechet": 0.01, "frechet_interval": [0.0, 0.02], "kid": 0.0, "kid_error": 0.001, "features_accuracy": 0.98}  # fmt: skip


@pytest.mark.parametrize(
    ("updates", "rate"), [(650, 0.99), (1300, 0.995), (2600, 0.9975), (2, 0.0)]
)
def test_a_run_of_another_length_keeps_its_shape(updates, rate):
    """1 / (1 - r) updates of the average are 200 of 1300, the warm-up is 100 and the full rate of EDM2 lasts 400."""
    config = stretched(get_config("edm2"), updates)
    assert config.model.ema_rate == pytest.approx(rate, abs=1e-12)
    assert config.training.n_iters == updates
    assert config.optim.warmup == round(100 * updates / 1300)
    assert config.optim.decay_after == max(1, round(400 * updates / 1300))
    assert get_config("edm2").optim.lr == config.optim.lr


def test_all_are_measured_alike():
    """The same images, batches and averages."""
    configs = [prepared(digits_networks.load_config(name), 0, 1500) for name in CONFIGS.values()]
    alike = [
        (c.seed, c.data.to_dict(), c.training.batch_size, c.training.n_iters, c.model.ema_rate, c.optim.warmup,
         c.sampling.to_dict(), c.evaluation.to_dict())
        for c in configs
    ]  # fmt: skip
    assert all(one == alike[0] for one in alike)
    assert len({digits_networks.identity(config) for config in configs}) == len(configs)


def test_updates_that_fit(monkeypatch):
    """With a quarter of a second per update in the trial, 40 fit into 10 seconds; the row states the time of the training itself."""
    lengths = []

    def trained(config, folder):
        lengths.append(config.training.n_iters)
        return 0.25 if len(lengths) == 1 else 0.3

    bits = {"ode_bits_per_dim": 2.5, "ode_standard_error": 0.01}
    quality = {"nfe": 40.0, "frechet_interval": [0.03, 0.07], **dict.fromkeys(("frechet", "kid", "kid_error"), 1.0)}  # fmt: skip
    monkeypatch.setattr(digits_networks, "trained_in", trained)
    monkeypatch.setattr(digits_networks.likelihood, "run", lambda *_: bits)
    monkeypatch.setattr(digits_networks.evaluate, "run", lambda *_: quality)
    row = measure(prepared(get_config(), 0, 20), 10.0)
    assert lengths == [digits_networks.TRIAL, 40]
    assert (row.updates, row.seconds_an_update, row.parameters) == (40, 0.3, 748_737)
    assert (row.bits_per_dim, row.nfe, row.frechet_low, row.frechet_high) == (2.5, 40.0, 0.03, 0.07)


def test_a_network_that_stands_still(monkeypatch):
    """Trained for the fewest possible updates. Its flow shrinks an image by exp(-B/2), B the integral of beta, so that
    -ln p = ln(2 pi)/2 + B/2 a number, B = (0.1 + 20)/2 but for 1e-5 of it, and 2/17 is the width of a level."""
    monkeypatch.setitem(NETWORKS, "still", Still)
    monkeypatch.setattr(digits_networks, "TRIAL", 3)
    row = measure(still(), 1e-6)
    assert (row.network, row.process, row.parameters, row.updates) == ("still", "subvp", 2, 2)
    nats = 0.5 * math.log(2 * math.pi) + 0.25 * 20.1 + math.log(17 / 2)
    assert row.bits_per_dim == pytest.approx(nats / math.log(2), abs=2e-3)
    assert row.frechet_low < row.frechet < row.frechet_high
    assert all(map(math.isfinite, row[2:]))


def test_a_signal_ends_the_command_without_a_row(monkeypatch, tmp_path):
    """A stopped training saves and ends normally; its weights were once measured as if fully trained."""
    monkeypatch.setitem(NETWORKS, "still", Still)
    config = still()
    config.training.update(n_iters=10**6, log_freq=1)
    folder = tmp_path / "run"

    def stop_when_trained_a_while():
        while not (folder / "metrics.jsonl").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop_when_trained_a_while, daemon=True).start()
    with pytest.raises(SystemExit) as ended:
        trained_in(config, folder)
    assert ended.value.code == 128 + signal.SIGTERM


def test_a_table_goes_on(monkeypatch, tmp_path):
    """Existing rows are kept, in the order of CONFIGS, and another setting is refused."""
    made = []

    def known(config, seconds):
        made.append(config.model.name)
        return ROW._replace(network=config.model.name)

    monkeypatch.setattr(digits_networks, "measure", known)
    monkeypatch.setattr(digits_networks, "of_training_images", lambda config: REAL)
    page = tmp_path / "page.md"
    page.write_text("<!-- results: digits_networks.json -->\n<!-- end of results -->\n")
    to = ["--out", str(tmp_path)]
    main(["--only", "uvit", *to])
    main(["--only", "dit", "uvit", *to])
    assert made == ["uvit", "dit"]
    shown = [line for line in page.read_text().splitlines() if line.startswith("| `")]
    line = "dit | subvp | 1,000 | 200 | 50 | 2.500 ± 0.010 | 40 | 0.050 (0.030 to 0.070) | 0.00100 ± 0.00040 |"
    assert shown == [f"| `dit` | {line}", f"| `uvit` | {line.replace('dit', 'uvit')}"]
    assert "| training images | | | | | | | | 0.0100 (0.0000 to 0.0200) |" in page.read_text()
    assert [*json.loads((tmp_path / "digits_networks.json").read_text())["rows"]] == ["uvit", "dit"]
    with pytest.raises(
        UserError, match=r"another setting \(seconds=180.0, now 90.0\): give another --out"
    ):
        main(["--seconds", "90", *to])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--seconds 0", "--seconds=0: expected a positive number"),
        ("--seconds nan", "--seconds=nan: expected a positive number"),
        ("--images 1", "--images=1: expected 2 or more"),
        ("--samples 19", "--samples=19: expected 20 or more"),
        ("--only dit rim", "--only=rim: take fast, dit"),
        ("--cpu_devices 0", "--cpu_devices=0: expected 1 to 256"),
    ],
)
def test_mistakes_are_said_before_anything_is_trained(arguments, words):
    with pytest.raises(UserError, match=words):
        main(arguments.split())

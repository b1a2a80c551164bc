"""Compare networks on the digits at equal training time on one machine.

    python -m benchmarks.digits_networks --seconds 180 --cpu_devices 2 --out docs
    python -m benchmarks.digits_networks --seconds 20 --only fast dit --out runs/digits_networks

Each configuration of CONFIGS is first trained for a few steps to measure the time of one without compilation, and then for as
many as fit into --seconds. Images, seed and batch size are the same for all; processes, losses and learning rates are those
of the configuration, whose durations in training steps are rescaled to the length of the run (`stretched`). The EMA weights are
measured by bits/dim of the held-out images (--mode likelihood) and by the distance of samples of the probability flow to the
held-out images in the features of a small classifier (--mode evaluate), next to that of the training images.

Rows are appended to <out>/digits_networks.json as they are measured; running the same command again adds missing rows. The table
on the page there is updated.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from benchmarks.command import in_words, make_folder, provenance, run_main
from benchmarks.tables import read, renew
from benchmarks.trained import train_to_its_end, without_records
from score_sde.config_file import load_config
from score_sde.configs.default import get_config
from score_sde.cpu_devices import check_cpu_devices, split_cpu
from score_sde.errors import UserError
from score_sde.files import write_whole
from score_sde.modes import evaluate, likelihood, train
from score_sde.progress import say
from score_sde.quality.estimate import Estimate, decimals
from score_sde.quality.tradeoff_table import with_error
from score_sde.sde_lib import build_sde
from score_sde.training import score_task
from score_sde.training.recorded_config import as_json, fields
from score_sde.training.start import state_shapes
from score_sde.unfinished import digest_of

SUBVP = ("fast", "dit", "uvit", "simple_uvit", "rin", "adm", "edm", "edm2")
FLOW = ("velocity",)
CONFIGS = {
    **{name: f"configs/subvp_digits.py:{name}" for name in SUBVP},
    **{name: f"configs/flow_digits.py:{name}" for name in FLOW},
}
"""Configurations by the names of --only, in the order of the table."""
TRIAL = 60  # training steps for measuring the time of one
FILE = "digits_networks.json"


class Row(NamedTuple):
    """A network and its results."""

    network: str
    """config.model.name"""
    process: str
    parameters: int
    updates: int
    seconds_an_update: float
    """Seconds per training step, without compilation."""
    bits_per_dim: float
    bits_error: float
    nfe: float
    """Network evaluations per sample."""
    frechet: float
    frechet_low: float
    frechet_high: float
    kid: float
    kid_error: float


def prepared(config: Any, images: int, samples: int) -> Any:
    """A copy that writes no records while training, and measures `images` held-out images (0: all) and `samples` samples."""
    config = without_records(config, config.training.n_iters)
    config.likelihood.update(num_images=images, bound_draws=0)
    config.sampling.update(sampler="ode", num_images=samples)
    config.evaluation.update(reference="test", features="classifier")
    return config


def stretched(config: Any, updates: int) -> Any:
    """A copy that trains for `updates` steps, with warmup, learning-rate decay and EMA rescaled in proportion.

    An EMA of rate r averages over about 1 / (1 - r) steps.
    """
    config = config.copy_and_resolve_references()
    optim, factor = config.optim, updates / config.training.n_iters
    optim.warmup = round(optim.warmup * factor)
    optim.decay_after = max(1, round(optim.decay_after * factor))
    config.model.ema_rate = max(0.0, 1.0 - (1.0 - config.model.ema_rate) / factor)
    config.training.n_iters = updates
    return config


def trained_in(config: Any, folder: Path) -> float:
    """Train to the end, and return the seconds per training step according to the last line of the log."""
    folder.mkdir()
    train_to_its_end(config, folder)
    rates = [line["images_per_second"] for line in read(folder / "metrics.jsonl")]
    return float(config.training.batch_size / rates[-1])


def measure(config: Any, seconds: float) -> Row:
    """Time, train and measure a network."""
    sde, parameters = build_sde(config), state_shapes(score_task.build_score_task(config)).params
    with tempfile.TemporaryDirectory() as place:
        tried = trained_in(stretched(config, TRIAL), Path(place) / "trial")
        config = stretched(config, max(2, round(seconds / tried)))
        folder = Path(place) / "trained"
        spent = trained_in(config, folder)
        bits = likelihood.run(config, sde, folder)
        quality = evaluate.run(config, sde, folder)
    low, high = quality["frechet_interval"]
    return Row(
        config.model.name,
        config.sde.name,
        sum(leaf.size for leaf in jax.tree.leaves(parameters)),
        config.training.n_iters,
        spent,
        bits["ode_bits_per_dim"],
        bits["ode_standard_error"],
        quality["nfe"],
        quality["frechet"],
        low,
        high,
        quality["kid"],
        quality["kid_error"],
    )


def of_training_images(config: Any) -> dict[str, Any]:
    """Distances of the training images to the held-out ones, which as many samples could fall below only by chance."""
    config = config.copy_and_resolve_references()
    config.evaluation.images = "train"
    with tempfile.TemporaryDirectory() as folder:
        found = evaluate.run(config, build_sde(config), Path(folder))
    names = "num_images", "frechet", "frechet_interval", "kid", "kid_error", "features_accuracy"
    return {name: found[name] for name in names}


def identity(config: Any) -> str:
    """Hash of the fields that differ from the defaults; new fields added later do not change it."""
    defaults = dict(fields(as_json(get_config())))
    changed = {k: value for k, value in fields(as_json(config)) if value != defaults.get(k)}
    return digest_of(changed)


def in_interval(value: float, low: float, high: float) -> str:
    """Format a value and its interval with as many digits as the width of the interval warrants."""
    digits = decimals((high - low) / 4)
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def tables(stored: dict[str, Any]) -> dict[str, str]:
    """The only table: a row for each network, and one for the training images."""
    lines = [
        "| configuration | network | process | parameters | ms an update | updates | bits/dim | evaluations | Frechet (95 %) | KID |",
        "|---" * 10 + "|",
    ]
    rows = {name: stored["rows"][name] for name in CONFIGS if name in stored["rows"]}
    for name, stored_row in rows.items():
        row = Row(*stored_row["figures"])
        bits, kid = Estimate(row.bits_per_dim, row.bits_error), Estimate(row.kid, row.kid_error)
        frechet = in_interval(row.frechet, row.frechet_low, row.frechet_high)
        lines.append(
            f"| `{name}` | {row.network} | {row.process} | {row.parameters:,} | {1e3 * row.seconds_an_update:.0f} | {row.updates:,} | "
            f"{with_error(bits)} | {row.nfe:.0f} | {frechet} | {with_error(kid)} |"
        )
    real, setting = stored["real"], stored["setting"]
    frechet = in_interval(real["frechet"], *real["frechet_interval"])
    kid = Estimate(real["kid"], real["kid_error"])
    lines.append(f"| training images | | | | | | | | {frechet} | {with_error(kid)} |")
    images = f"{setting['images']} held-out images" if setting["images"] else "all held-out images"
    below = (
        f"{setting['seconds']:g} s of updates each. Bits/dim of {images}; {setting['samples']} samples and {real['num_images']} training images "
        f"beside all held-out ones, by a classifier of accuracy {real['features_accuracy']:.1%} on these."
    )
    return {"": "\n".join([*lines, "", below, *measured_by(rows.values())])}


def measured_by(rows: Iterable[dict[str, Any]]) -> list[str]:
    """A sentence for each machine, version and day, with the range of loads while its rows were measured."""
    loads: dict[str, list[float]] = {}
    for row in rows:
        loads.setdefault(in_words(row["measured"] | {"load": "{load}"}), []).append(
            row["measured"]["load"]
        )
    return [
        f"\nMeasured by {words.replace('{load}', ' to '.join(map(str, dict.fromkeys((min(of), max(of))))))}"
        for words, of in loads.items()
    ]


def opened(file: Path, setting: dict[str, Any]) -> dict[str, Any]:
    """Read the existing rows, or start an empty record.

    Raises:
      UserError: the existing rows were made with another setting and are not comparable.
    """
    if not file.exists():
        return {"setting": setting, "rows": {}}
    stored = dict(read(file))
    found = stored["setting"]
    others = [
        f"{part}={found.get(part)}, now {now}"
        for part, now in setting.items()
        if found.get(part) != now
    ]
    if others:
        raise UserError(
            f"{file} has rows of another setting ({'; '.join(others)}): give another --out, or remove it"
        )
    return stored


def keep(file: Path, stored: dict[str, Any]) -> None:
    write_whole(file, (json.dumps(stored, indent=1) + "\n").encode())


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.digits_networks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=180.0, help="of updates, each network")
    parser.add_argument("--images", type=int, default=0, help="held-out images; 0: all")
    parser.add_argument("--samples", type=int, default=1500, help="of each network")
    parser.add_argument("--only", nargs="+", default=[*CONFIGS], help=f"of {', '.join(CONFIGS)}")
    parser.add_argument("--cpu_devices", type=int, help="as that of main.py")
    parser.add_argument("--out", type=Path, default=Path("runs/digits_networks"), help="a folder")
    return parser.parse_args(arguments)


def check(options: argparse.Namespace) -> None:
    """Check the options before anything is built.

    Raises:
      UserError: an invalid option, with the given and the expected value.
    """
    if not 0 < options.seconds < math.inf:
        raise UserError(f"--seconds={options.seconds:g}: expected a positive number, such as 180")
    if options.images < 0 or options.images == 1:
        raise UserError(
            f"--images={options.images}: expected 2 or more, for an error, or 0 for all"
        )
    if options.samples < 20:
        raise UserError(f"--samples={options.samples}: expected 20 or more, as KID's error needs")
    if unknown := {*options.only} - {*CONFIGS}:
        raise UserError(f"--only={', '.join(sorted(unknown))}: take {', '.join(CONFIGS)}")
    check_cpu_devices(options.cpu_devices)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    options = parse(arguments)
    check(options)
    split_cpu(options.cpu_devices)
    facts = provenance("benchmarks.digits_networks")
    setting = {part: getattr(options, part) for part in ("seconds", "images", "samples")}
    setting |= {part: facts[part] for part in ("machine", "device", "jax")}
    make_folder(options.out)
    file = options.out / FILE
    stored = opened(file, setting)
    configs = {
        name: prepared(load_config(CONFIGS[name]), options.images, options.samples)
        for name in CONFIGS
        if name in options.only
    }
    for config in configs.values():
        sde = build_sde(config)
        for mode in (train, likelihood, evaluate):
            mode.check(config, sde)
    if "real" not in stored:
        stored["real"] = of_training_images(next(iter(configs.values())))
        keep(file, stored)
    for number, (name, config) in enumerate(configs.items(), 1):
        known = identity(config)
        if stored["rows"].get(name, {}).get("identity") == known:
            say(f"{name}: is there already")
            continue
        say(f"row {number} of {len(configs)}: {name}")
        row = measure(config, options.seconds)
        stored["rows"][name] = {"identity": known, "figures": row, "measured": facts}
        keep(file, stored)
        print(row, flush=True)
        jax.clear_caches()  # the programs of this network are not used again
    print(tables(read(file))[""])
    renew(options.out)
    return stored


if __name__ == "__main__":
    run_main(main)

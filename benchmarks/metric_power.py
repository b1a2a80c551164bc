"""Measure how many samples each metric of --mode evaluate needs to detect a fault.

    python -m benchmarks.metric_power --out runs/power                        # an hour or more; needs '.[images,perceptual]'
    python -m benchmarks.metric_power --sets digits/classifier --out runs/power
    python -m benchmarks.metric_power --redraw --out docs                     # tables and picture anew

The samples are real images with a fault, compared with other real images (fault_images.py). A metric detects the fault if it lies outside
the central 95 % of its values for as many honest samples. Three metrics with a standard error also count as detecting it at 1.96 standard
errors from the value for honest samples. All images are drawn anew in every repetition. Sets measured earlier stay in
<out>/metric_power.json; also writes .png, and updates the tables on the page there.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.command import in_words, make_folder, provenance, run_main
from benchmarks.fault_figures import ORDER, trial_of
from benchmarks.fault_images import FAULTS, IMAGES, load_pool
from benchmarks.power import HONEST, Plan, Power, needed, powers
from benchmarks.power_picture import draw_picture
from benchmarks.tables import read, renew
from score_sde.errors import UserError
from score_sde.features.extractors import NAMES
from score_sde.files import write_whole
from score_sde.progress import progress_bar

SETS = ("mnist5k/alexnet", "photo_patches/alexnet", "digits/classifier", "digits/pixels")
WANTED = 0.9


class Measured(NamedTuple):
    """The powers for one set of images with one kind of features."""

    facts: dict[str, Any]
    """Command, machine and numbers of repetitions."""
    powers: list[Power]


def measure(name: str, options: argparse.Namespace) -> list[Power]:
    """Measure all powers of a set named IMAGES/FEATURES."""
    images, _, features = name.partition("/")
    sizes = IMAGES[images].sizes
    numbers = [n for n in sizes.numbers if n <= options.largest]
    plan = Plan(numbers, options.honest, options.faulty, seed=options.seed)
    trial = trial_of(load_pool(images, features), sizes)
    total = sum(numbers) * (plan.honest + plan.faulty * len(FAULTS))
    with progress_bar(total, name, "sample") as bar:
        return list(powers(trial, tuple(FAULTS), plan, bar.update))


def by_figure(measured: list[Power], fault: str) -> dict[str, dict[int, float]]:
    """Metric -> number of samples -> power, for one fault."""
    found: dict[str, dict[int, float]] = {}
    for power in measured:
        if power.fault == fault:
            found.setdefault(power.figure, {})[power.n] = power.power
    return found


def table(measured: list[Power]) -> str:
    """The table of one set: samples that each metric needs for each fault, and the false-alarm rates of metrics with a standard error."""
    known = {power.figure for power in measured}
    names = [name for name in ORDER if name in known]
    alarms = by_figure(measured, HONEST)
    lines = [
        "| figure | " + " | ".join([*FAULTS, "false alarms"]) + " |",
        "|---" * (len(FAULTS) + 2) + "|",
    ]
    for name in names:
        cells = [cell(by_figure(measured, fault)[name]) for fault in FAULTS]
        shares = alarms.get(name, {}).values()
        spread = f"{min(shares):.0%} to {max(shares):.0%}" if shares else ""
        lines.append(f"| {name} | " + " | ".join([*cells, spread]) + " |")
    return "\n".join(lines)


def cell(power: dict[int, float]) -> str:
    """The number of samples for a power of WANTED, to two digits."""
    least, most = min(power), max(power)
    n = needed(power, WANTED)
    if math.isinf(n):
        return f"> {most} ({power[most]:.0%})"
    return f"≤ {least}" if n == least else f"{float(f'{n:.2g}'):.0f}"


def tables(stored: dict[str, Any]) -> dict[str, str]:
    """One table for each set."""
    return {name: with_facts(name, measured) for name, measured in sets_of(stored).items()}


def with_facts(name: str, measured: Measured) -> str:
    sizes, facts = IMAGES[name.partition("/")[0]].sizes, measured.facts
    return (
        f"{table(measured.powers)}\n\n"
        f"Beside {sizes.reference} training and {sizes.held_out} held-out images, {facts['honest']} honest repetitions, {facts['faulty']} of each fault: "
        f"{in_words(facts)}"
    )


def sets_of(stored: dict[str, Any]) -> dict[str, Measured]:
    """The sets by name, from the contents of the file that `write` makes."""
    return {
        name: Measured(of["measured"], [Power(*row) for row in of["powers"]])
        for name, of in stored["sets"].items()
    }


def write(file: Path, stored: dict[str, Measured]) -> None:
    parts: Iterator[str] = (
        f'{json.dumps(name)}: {{"measured": {json.dumps(of.facts)},\n"powers": [\n'
        + ",\n".join(json.dumps(power) for power in of.powers)
        + "\n]}"
        for name, of in stored.items()
    )
    fields = json.dumps(Power._fields)
    text = f'{{"fields": {fields},\n"sets": {{\n' + ",\n".join(parts) + "\n}}\n"
    write_whole(file, text.encode())


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.metric_power",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sets", nargs="+", default=list(SETS), metavar="IMAGES/FEATURES")
    parser.add_argument("--honest", type=int, default=Plan([]).honest, help="repetitions")
    parser.add_argument("--faulty", type=int, default=Plan([]).faulty, help="of each fault")
    parser.add_argument("--largest", type=int, default=1600, help="samples")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/power"), help="a folder")
    parser.add_argument("--redraw", action="store_true", help="tables and picture of <out>/*.json")
    options = parser.parse_args(arguments)
    for name in options.sets:
        images, _, features = name.partition("/")
        if images not in IMAGES or features not in NAMES:
            raise UserError(
                f"--sets {name!r}: expected IMAGES/FEATURES, of {', '.join(IMAGES)} and {', '.join(NAMES)}"
            )
    if options.honest < 39 or options.faulty < 1:
        raise UserError(
            f"--honest={options.honest} --faulty={options.faulty}: limits of a false alarm of 5 % take 39 honest repetitions, and a power one of a fault"
        )
    least = max(min(IMAGES[name.partition("/")[0]].sizes.numbers) for name in options.sets)
    if options.largest < least:
        raise UserError(
            f"--largest={options.largest}: the fewest samples are {least}; give as many"
        )
    return options


def main(arguments: list[str] | None = None) -> dict[str, Measured]:
    options = parse(arguments)
    make_folder(options.out)
    file = options.out / "metric_power.json"
    if options.redraw and not file.exists():
        raise UserError(f"--redraw: there is no {file}; leave it out, and it is measured")
    stored = sets_of(read(file)) if file.exists() else {}
    for name in [] if options.redraw else options.sets:
        facts = provenance("benchmarks.metric_power")
        facts |= {"honest": options.honest, "faulty": options.faulty}
        stored[name] = Measured(facts, measure(name, options))
        write(file, stored)
    draw_picture({name: of.powers for name, of in stored.items()}, file.with_suffix(".png"))
    print("\n\n".join(tables(read(file)).values()))
    renew(options.out)
    return stored


if __name__ == "__main__":
    run_main(main)

"""The errors as Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.records import Record, best_within, by_sampler, ranking

COLUMNS = (10, 20, 40, 160)
BESIDE = ("euler", "heun", "dopri5 adaptive")

EXPLAINED = {
    "flow": (
        "The probability flow of a mixture, deterministic samplers",
        "Root mean square distance of 63 points from where the exact flow takes them: its quantile map from T = 1 to 1e-3, "
        "toy mixture under VP, float64, no last denoising.",
    ),
    "law": (
        "The law of a mixture, stochastic samplers",
        "Kolmogorov-Smirnov distance of all coordinates of the samples to the exact law at t = 1e-3, toy mixture under VP. "
        "True samples have {floor:.2g} on average.",
    ),
    "digits_flow": (
        "The probability flow of the digits network, deterministic samplers",
        "Root mean square distance in pixels of [-1, 1] to the same ODE solved in small steps, from the same noise. "
        "That reference moves by {floor:.2g} when its steps are doubled. One evaluation is the last denoising.",
    ),
    "digits_law": (
        "The digits that come out",
        "Frechet distance in pixel space: |difference of means|^2 + tr(C + D - 2 (C D)^(1/2)) for Gaussians fitted to the "
        "samples and to all 1,797 real digits, pixels in [0, 1]. As many real digits, drawn anew, have {floor:.2g}; the 297 "
        "of the test split against the 1,500 of the training split have {test_to_train:.2g}. One evaluation is the last "
        "denoising.",
    ),
}


def figure(error: float) -> str:
    return f"{error:.1e}" if error < 1e-2 else f"{error:.2g}"


def cell(record: Record | None, floor: float) -> str:
    """The error and where its steps came from."""
    if record is None:
        return ""
    return f"{'<= ' if record.error < floor else ''}{figure(record.error)} {record.steps}"


def table(records: Iterable[Record], measure: str, floor: float) -> str:
    """A row for each sampler: its best error within each budget."""
    samplers = by_sampler(records, measure)
    lines = [
        f"| sampler | order | {' | '.join(f'{n} NFE' for n in COLUMNS)} |",
        f"|---|---|{'---|' * len(COLUMNS)}",
    ]
    for name, runs in samplers.items():
        cells = (cell(best_within(runs, budget), floor) for budget in COLUMNS)
        lines.append(f"| {name} | {runs[0].order} | {' | '.join(cells)} |")
    return "\n".join(lines)


def headline(records: Iterable[Record], measure: str) -> str:
    """The best sampler at few evaluations beside well-known ones."""
    samplers = by_sampler(records, measure)
    beside = [name for name in BESIDE if name in samplers]
    lines = ["| NFE | best | " + " | ".join(beside) + " |", "|---|---|" + "---|" * len(beside)]
    for budget in (10, 20):
        best = ranking(samplers, budget)
        if not best:
            continue
        others = (best_within(samplers[name], budget) for name in beside)
        cells = " | ".join("needs more" if other is None else cell(other, 0.0) for other in others)
        lines.append(f"| {budget} | **{best[0].sampler} {cell(best[0], 0.0)}** | {cells} |")
    return "\n".join(lines)


def document(records: list[Record], floors: dict[str, float], measured: str) -> str:
    """The whole report."""
    parts = [
        "# Error versus network evaluations",
        f"Measured by {measured}",
        "Each sampler takes as many steps as fit the number of evaluations (NFE), on the grid named beside the error, the "
        "best of uniform, log_snr and rho (log_snr alone for the network); an adaptive one has the tolerance that lands nearest below, if above half. The order is that of "
        "convergence, of the law for stochastic samplers. The picture is [error_versus_nfe.png](error_versus_nfe.png).",
        headline(records, "flow"),
    ]
    for measure, (title, text) in EXPLAINED.items():
        if by_sampler(records, measure):
            floor = floors.get(measure, 0.0)
            words = text.format(floor=floor, test_to_train=floors.get("test_to_train", 0.0))
            parts += [f"## {title}", words, table(records, measure, floor)]
    return "\n\n".join(parts) + "\n"

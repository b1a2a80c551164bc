"""The training section: a chart for every figure of metrics.jsonl, and how the time was spent."""

from __future__ import annotations

from score_sde.reports.chart import chart, short
from score_sde.reports.elements import section, text
from score_sde.reports.lines import Row, number
from score_sde.reports.reading import curve, names_under, rows_of

BY_NOISE, TIMES = "loss_by_log_snr/", "seconds_"
# Figures with a chart of their own: name, title, text next to it, whether the scale may be logarithmic.
CURVES = (
    ("grad_norm", "Gradient norm", "before the clip", True),
    ("images_per_second", "Images a second", "", False),
    ("learning_rate", "Learning rate", "", False),
)
QUALITY = ("frechet", "frechet_error", "frechet_limit", "frechet_limit_error")
MOST_MORE = 24  # charts of other figures at most, such as those of a user's own evaluators
DRAWN = {"step", "loss", "updates", *(name for name, *_ in CURVES)}


def training(rows: list[Row], results: list[Row]) -> str:
    """The training section: curves of metrics.jsonl, and times of results.jsonl."""
    losses = {"training": curve(rows, "loss"), "held out": curve(rows, "eval_loss")}
    bins = {
        "log-SNR " + name.removeprefix(BY_NOISE).replace("_to_", " to "): curve(rows, name)
        for name in names_under(rows, BY_NOISE)
    }
    quality = {
        "of the samples": curve(rows, "frechet"),
        "of infinitely many": curve(rows, "frechet_limit"),
    }
    known = {*DRAWN, "eval_loss", *QUALITY}
    more = [name for name in names_under(rows, "") if name not in known]
    more = [name for name in more if not name.startswith(BY_NOISE)]
    charts = [
        chart("Loss", losses, may_be_log=True),
        chart("Loss by noise", bins, "training", may_be_log=True),
        *(
            chart(title, {"last": curve(rows, name)}, what, log)
            for name, title, what, log in CURVES
        ),
        chart("Frechet distance", quality, may_be_log=True),
        *(chart(name, {"last": curve(rows, name)}) for name in more[:MOST_MORE]),
    ]
    drawn = "".join(charts)
    return section("Training", drawn and f'<div class="grid-of">{drawn}</div>', times(results))


def times(results: list[Row]) -> str:
    """A bar of how the time was spent, summed over all finished training commands."""
    rows = rows_of(results, "train")
    total = {
        name: sum(number(row.get(name)) or 0.0 for row in rows) for name in names_under(rows, TIMES)
    }
    whole = sum(total.values())
    if not whole > 0:
        return ""
    bar, legend = [], []
    for i, (name, seconds) in enumerate(total.items()):
        share = 100 * max(seconds, 0) / whole
        bar.append(f'<i class="c{i % 4}" style="width:{share:.2f}%"></i>')
        label = text(name.removeprefix(TIMES))
        legend.append(
            f'<li><i class="c{i % 4}"></i>{label} <b>{share:.1f} %</b> ({short(seconds)} s)</li>'
        )
    return (
        f'<div class="bar"><b>Where the time went</b><div>{"".join(bar)}</div>'
        f'<ul class="legend">{"".join(legend)}</ul></div>'
    )

"""Tables of the speed page: what is compared, and how ratios and fractions are formed."""

from benchmarks.accelerator.page import tables

FACTS = {
    "machine": "M",
    "device": "D",
    "load": 1.0,
    "jax": "1",
    "python": "3",
    "date": "2026-01-01",
}


def row(stage, measure, who, value, unit, precision="bfloat16"):
    figure = {"value": value, "unit": unit, "precision": precision, "batch": 8}
    return {"stage": stage, "measure": measure, "who": who, **figure, "command": stage, **FACTS}


ROWS = [
    row("ceilings", "matrix product", "XLA", 500.0, "TFLOP/s"),
    row("agreement", "score", "ours", 2.15e-6, "relative", "highest"),
    row("agreement", "score", "ours", 0.011, "relative"),
    row("agreement", "likelihood", "ours", 2.2e-5, "bits/dim", "highest"),
    row("training", "training", "ours", 3000.0, "images/s"),
    row("training", "training", "PyTorch", 1000.0, "images/s"),
    row("training", "training, ours over PyTorch", "ours", 2.75, "times"),
    row("training", "training", "ours", 200.0, "TFLOP/s"),
    row("training", "peak memory", "ours", 3.0, "GiB"),
    row("training", "peak memory", "PyTorch", 4.0, "GiB"),
    row("again", "training", "ours", 20.0, "images/s"),
]


def test_errors_by_precision():
    assert tables(ROWS)["agreement"].splitlines()[:4] == [
        "| | float32, `highest` | bfloat16 |",
        "|---|---|---|",
        "| score | 2.2e-6 | 1.1e-2 |",
        "| likelihood | 2.2e-5 bits/dim |  |",
    ]


def test_speeds_beside_the_peer_of_the_same_stage():
    """The ratio is that of timings in turns if available, 2.75 and not 3; a stage without a peer has no row."""
    assert tables(ROWS)["speed"].splitlines() == [
        "| | batch | ours | of the limit | PyTorch | ours / PyTorch |",
        "|---|---|---|---|---|---|",
        "| training, images/s, bfloat16 (`training`) | 8 | 3,000 | 200 TFLOP/s, 40% | 1,000 | 2.75 |",
        "| peak memory, GiB, bfloat16 (`training`) | 8 | 3 |  | 4 | 0.75 |",
        "",
        "Limits: matrix product in bfloat16, 500 TFLOP/s.",
        "",
        "`training` on 2026-01-01: M, D, load 1.0, jax 1, Python 3.",
    ]


def test_each_precision_and_peer_has_its_own_ratio():
    """Within one stage; memory that only PyTorch reports has no row."""

    def evaluation(precision, ours, theirs, gain, compiled_gain):
        yield row("both", "evaluation", "ours", ours, "images/s", precision)
        for who, times in (("PyTorch", gain), ("PyTorch, compiled", compiled_gain)):
            yield row("both", "evaluation", who, theirs, "images/s", precision)
            measure = f"evaluation, ours over {who}"
            yield row("both", measure, "ours", times, "times", precision)

    rows = [
        *evaluation("bfloat16", 90.0, 30.0, 3.1, 1.5),
        *evaluation("float32", 8.0, 4.0, 2.1, 1.2),
    ]
    rows.append(row("both", "peak memory", "PyTorch, eager and compiled", 4.0, "GiB"))
    assert tables(rows)["speed"].splitlines()[2:6] == [
        "| evaluation, images/s, bfloat16 (`both`) | 8 | 90 |  | 30 | 3.10 |",
        "| evaluation, images/s, bfloat16 (`both`) | 8 | 90 |  | 30, compiled | 1.50 |",
        "| evaluation, images/s, float32 (`both`) | 8 | 8 |  | 4 | 2.10 |",
        "| evaluation, images/s, float32 (`both`) | 8 | 8 |  | 4, compiled | 1.20 |",
    ]

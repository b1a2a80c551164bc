"""Tables of the speed page: who is compared with whom, and what a ratio and a share are of."""

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
    row("training", "peak memory", "PyTorch, eager and compiled", 4.0, "GiB"),
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
    """The ratio is that of the turns where it was taken, 2.75 and not 3; a stage without a peer has no row."""
    assert tables(ROWS)["speed"].splitlines() == [
        "| | batch | ours | of the limit | PyTorch | ours over it |",
        "|---|---|---|---|---|---|",
        "| training, images/s (`training`) | 8 | 3,000 | 200 TFLOP/s, 40% | 1,000 | 2.75 |",
        "| peak memory, GiB (`training`) | 8 | 3 |  | 4 | 0.75 |",
        "",
        "Limits: matrix product in bfloat16, 500 TFLOP/s.",
        "",
        "`training` on 2026-01-01: M, D, load 1.0, jax 1, Python 3.",
    ]

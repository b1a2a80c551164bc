"""The picture of a tradeoff table: a line for each sampler on each grid."""

from score_sde.quality.estimate import Estimate
from score_sde.quality.tradeoff_picture import curves
from score_sde.quality.tradeoff_table import Row


def row(name, steps, nfe):
    return Row(name, steps, nfe, {"frechet": Estimate(1.0, 0.1)})


def test_a_sampler_on_two_grids_is_two_curves():
    """Each line has its own rows, sorted by evaluations; the grid is named if there are several."""
    rows = [
        row("real images (test)", "", None),
        *(row("heun", f"{n} on rho", 2 * n) for n in (19, 9)),
        *(row("heun", f"{n} on log_snr", 2 * n) for n in (9, 19)),
        row("ddim", "9 on log_snr", 9),
        row("dopri5 adaptive", "tolerance 0.01", 44),
    ]
    found = {name: [row.steps for row in curve] for name, curve in curves(rows).items()}
    assert found == {
        "heun on rho": ["9 on rho", "19 on rho"],
        "heun on log_snr": ["9 on log_snr", "19 on log_snr"],
        "ddim": ["9 on log_snr"],
        "dopri5 adaptive": ["tolerance 0.01"],
    }

"""The table that --mode likelihood prints: what was measured, and what each number is the likelihood of."""

from __future__ import annotations

from typing import Any

from score_sde.likelihood.bits_per_dim import BitsPerDim, Measured, standard_error

HEADER = ("", "bits/dim", "+-", "95 % of means", "own error", "evaluations")


def table(config: Any, measured: BitsPerDim, checkpoint_step: int | None) -> str:
    """Lines of text. `+-` is the standard error over images, `own error` the part of it that is noise of the measurement."""
    options = config.likelihood
    rows: list[tuple[str, ...]] = [HEADER]
    rows += [row(name, one) for name, one in measured.by_name.items()]
    gap = measured.gap
    if gap is not None:
        rows.append(("gap", f"{gap.mean():.4f}", f"{standard_error(gap):.4f}", "", "", ""))
    widths = [max(len(line[k]) for line in rows) for k in range(len(HEADER))]
    lines = [
        line[0].ljust(widths[0])
        + "".join("  " + cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))
        for line in rows
    ]
    return "\n".join(
        [*described(config, measured, checkpoint_step), "", *lines, "", *meaning(options)]
    )


def row(name: str, measured: Measured) -> tuple[str, ...]:
    """One row of the table: mean, errors, interval, evaluations."""
    low, high = measured.interval
    return (
        name,
        f"{measured.mean:.4f}",
        f"{measured.standard_error:.4f}",
        f"{low:.4f} .. {high:.4f}",
        "-" if measured.own_error != measured.own_error else f"{measured.own_error:.4f}",
        f"{measured.nfe.mean():.1f}",
    )


def described(config: Any, measured: BitsPerDim, checkpoint_step: int | None) -> list[str]:
    """What the numbers depend on."""
    data, options = config.data, config.likelihood
    repeats, images = measured.best.bits_per_dim.shape
    levels = (
        f"{data.num_levels} levels, {options.dequantization} dequantization"
        if data.num_levels
        else "real-valued data"
    )
    step = "exact score" if checkpoint_step is None else f"checkpoint of step {checkpoint_step}"
    step += f", ema_sigma_rel={config.ema_sigma_rel:g}" if config.ema_sigma_rel else ""
    given = ", given its class" if config.model.get("num_classes") and options.conditional else ""
    lines = [
        f"{data.name} {options.split}: {images} images{given}, repeats {repeats}, {levels}; {config.sde.name}, {step}, "
        f"eps={options.eps:g}, decoder={options.decoder}, seed={config.seed}"
    ]
    if options.ode:
        probes = "" if options.probe == "exact" else f", num_probes={options.num_probes}"
        if options.probe == "hutchpp":
            probes += f", sketch_size={options.sketch_size}"
        lines.append(
            f"ODE: {options.solver}, rtol={options.rtol:g}, atol={options.atol:g}, steps of a {options.step_size}; "
            f"probe={options.probe}{probes}"
        )
    if options.bound_draws:
        lines.append(f"bound: {options.bound_draws} draws an image")
    return lines


def meaning(options: Any) -> list[str]:
    """The two numbers are of two laws."""
    of = "the data" if options.decoder == "gaussian" else f"the images at time eps={options.eps:g}"
    lines = []
    if options.ode:
        lines.append(
            f"The ODE's value is the cost of {of} under the law that the probability flow makes of the prior."
        )
    if options.bound_draws:
        lines.append(
            f"The bound is one on the cost of {of} under the law of the reverse SDE: not on the ODE's, which may lie "
            "on either side of it."
        )
    return lines

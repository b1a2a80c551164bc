"""The table printed by --mode likelihood: the measured values, and the model and data that each of them refers to."""

from __future__ import annotations

from typing import Any

from score_sde.likelihood.bits_per_dim import BitsPerDim, Measured, standard_error
from score_sde.likelihood.per_image import integer_costs

HEADER = ("", "bits/dim", "+-", "95 % of means", "own error", "evaluations")


def table(config: Any, measured: BitsPerDim, checkpoint_step: int | None) -> str:
    """Format the table. `+-` is the standard error over images, `own error` the part of it that is measurement noise."""
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
        [*described(config, measured, checkpoint_step), "", *lines, "", *meaning(config)]
    )


def row(name: str, measured: Measured) -> tuple[str, ...]:
    """One row of the table: name, mean, standard error, interval, own error, evaluations."""
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
    """Lines that state the settings the numbers depend on."""
    data, options = config.data, config.likelihood
    repeats, images = measured.best.bits_per_dim.shape
    levels = f"{data.num_levels} levels" if data.num_levels else "real-valued data"
    if data.num_levels and (options.ode or not integer_costs(config)):
        levels += f", {options.dequantization} dequantization"
    at_eps = options.ode or config.training.continuous  # the bound of a chain is at time 0
    end = f"eps={options.eps:g}, decoder={options.decoder}, " if at_eps else ""
    step = "exact score" if checkpoint_step is None else f"checkpoint of step {checkpoint_step}"
    step += f", ema_sigma_rel={config.ema_sigma_rel:g}" if config.ema_sigma_rel else ""
    given = ", given its class" if config.model.get("num_classes") and options.conditional else ""
    lines = [
        f"{data.name} {options.split}: {images} images{given}, repeats {repeats}, {levels}; {config.sde.name}, {step}, "
        f"{end}seed={config.seed}"
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
        chain = "" if config.training.continuous else of_chain(config)
        lines.append(f"bound: {options.bound_draws} draws per image{chain}")
    return lines


def of_chain(config: Any) -> str:
    """Describe the chain that the bound is for."""
    options, model = config.likelihood, config.model
    kept = (
        f", of which chain_levels={options.chain_levels} are kept" if options.chain_levels else ""
    )
    learnt = " (the learned variances are not used)" if model.get("learned_variance") else ""
    return f", on the chain of {model.num_scales} levels{kept}, with the {options.chain_variances} variances{learnt}"


def meaning(config: Any) -> list[str]:
    """Lines that state which distribution and which data each number refers to."""
    options = config.likelihood
    of = "the data" if options.decoder == "gaussian" else f"the images at time eps={options.eps:g}"
    lines = []
    if options.ode:
        lines.append(
            f"The ODE value is -log p of {of} under the distribution that the probability flow makes of the prior."
        )
    if options.bound_draws and not config.training.continuous:
        integers = integer_costs(config)
        what = "integer images themselves" if integers else "dequantized images"
        of = f"the {what if config.data.num_levels else 'data'} at time 0"
        decoder = "discretised" if integers else "Gaussian"
        lines.append(
            f"The bound is an upper bound on -log p of {of} under the chain, whose last step is a {decoder} decoder"
            + ("; the ODE defines another distribution." if options.ode else ".")
        )
    elif options.bound_draws:
        lines.append(
            f"The bound is an upper bound on -log p of {of} under the reverse SDE; it does not bound the ODE value, which may be larger or smaller."
        )
    return lines

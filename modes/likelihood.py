"""--mode likelihood: bits/dim of a split, image by image, by the ODE and by the SDE's bound."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from score_sde import data
from score_sde.configs.default import check_options
from score_sde.data.array_files import check_levels, read_images
from score_sde.data.image_shape import image_shape
from score_sde.data.splits import ImagesInMemory
from score_sde.devices import check_batch
from score_sde.errors import ConfigError, UserError
from score_sde.files import user_path, write_whole
from score_sde.likelihood.anomaly import auc
from score_sde.likelihood.bits_per_dim import (
    BitsPerDim,
    Measured,
    measure_bits_per_dim,
    standard_error,
)
from score_sde.likelihood.dequantization.trained import (
    DEQUANTIZERS,
    dequantizer_folder,
    load_dequantizer,
)
from score_sde.likelihood.discrete_bound import VARIANCES
from score_sde.likelihood.per_image import build_per_image, chain_of_bound, given
from score_sde.likelihood.picture import save_likelihood_picture
from score_sde.likelihood.table import table
from score_sde.models.networks import check_no_class
from score_sde.models.parameterization import refuse_discrete
from score_sde.options import choose
from score_sde.results import listed, report
from score_sde.sde_lib import SDE
from score_sde.spaces import build_space
from score_sde.training.checkpoints import checkpoint_folder
from score_sde.training.kept_averages import averages_folder
from score_sde.training.recorded_config import as_json
from score_sde.training.trained_score import EXACT, LoadedScore, check_score_model, load_score_model
from score_sde.unfinished import UnfinishedFolder, all_hosts_meet, changed, newest_file, unused

# Figures that are printed below the table
BESIDE = (
    "exact_bits_per_dim",
    "largest_difference",
    "auc_ode",
    "auc_ode_standard_error",
    "auc_bound",
    "auc_bound_standard_error",
    "seconds",
    "arrays",
    "picture",
)


def check(config: Any, sde: SDE) -> None:
    """Refuse what cannot be measured.

    Raises:
      UserError: saying what was given, what was expected and what to do.
    """
    check_options(config)
    check_score_model(config, sde)
    options, data = config.likelihood, config.data
    choose("likelihood.chain_variances", options.chain_variances, VARIANCES)
    if not config.training.continuous and options.bound_draws:
        chain_of_bound(config, sde)
    choose("likelihood.dequantization", options.dequantization, DEQUANTIZERS)
    sde.check_time("likelihood.eps", options.eps)
    check_batch(config, "likelihood.batch_size")
    if options.anomalies and not user_path(options.anomalies).is_file():
        raise ConfigError(
            f"likelihood.anomalies={options.anomalies!r}: no such file; give an .npz file with `images` (levels, as "
            "--mode sample writes them)"
        )
    if not options.conditional:
        check_no_class(config, "likelihood.conditional=False")
    if options.anomalies and given(config):
        raise ConfigError(
            f"likelihood.anomalies={options.anomalies!r} with a model conditioned on classes, which those images do not have; set "
            "likelihood.conditional=False to measure all of them without"
        )
    if not options.ode and not options.bound_draws:
        raise ConfigError(
            "likelihood.ode=False and likelihood.bound_draws=0 leave nothing to measure; set one of them"
        )
    if options.dequantization != "uniform" and not data.num_levels:
        raise ConfigError(
            f"likelihood.dequantization={options.dequantization!r} with data.num_levels=0: real-valued data have a density "
            "as they are; set dequantization='uniform'"
        )
    if not config.training.continuous and options.bound_draws == 2:
        raise ConfigError(
            "likelihood.bound_draws=2 with training.continuous=False: a chain's bound needs 4 or more, two of them for the "
            "decoder"
        )
    if not config.training.continuous and options.decoder != "none":
        raise ConfigError(
            f"likelihood.decoder={options.decoder!r} with training.continuous=False: a chain's bound ends in a decoder of its "
            "own; set decoder='none'"
        )
    if options.ode:
        refuse_discrete(
            config, sde, "the likelihood of the ODE (likelihood.ode=False leaves the chain's bound)"
        )
    build_per_image(config, sde, math.prod(image_shape(data)))
    if config.model.name == EXACT and not config.training.continuous and options.bound_draws:
        raise ConfigError(
            "training.continuous=False with model.name=mixture: the exact score has no chain; leave training.continuous alone"
        )


def run(config: Any, sde: SDE, workdir: Path) -> dict[str, Any]:
    """Measure, write every image's values to <workdir>/likelihood/*.npz, report the figures and return them."""
    loaded = load_score_model(config, sde, workdir)
    dequantizer = load_dequantizer(config, workdir, loaded.checkpoint_step)
    split = getattr(data.load(config, given(config)), config.likelihood.split)
    anomalies = read_anomalies(config)

    def measure(split: Any, what: str) -> tuple[BitsPerDim, UnfinishedFolder]:
        unfinished = UnfinishedFolder(
            workdir / "likelihood", identity(config, workdir, loaded, what)
        )
        return (
            measure_bits_per_dim(
                config, sde, loaded.model, dequantizer, split, config.seed, unfinished
            ),
            unfinished,
        )

    measured, unfinished = measure(split, "split")
    figures = {**described(config, loaded, measured), **summary(measured)}
    if config.model.name == EXACT and measured.ode is not None:
        figures |= distance_to_truth(
            config, sde, loaded.model, split, measured.ode, measured.latents
        )
    arrays = per_image(config, measured)
    leftovers = [unfinished]
    if anomalies is not None:
        odd, unfinished = measure(anomalies, "anomalies")
        leftovers.append(unfinished)
        figures |= detection(measured, odd)
        arrays |= {f"anomalies_{name}": array for name, array in per_image(config, odd).items()}
    all_hosts_meet("likelihood")
    if jax.process_index() == 0:
        figures |= write(config, workdir, loaded, measured, split, arrays)
    for one in leftovers:
        one.remove()
    beside = {name: figures[name] for name in BESIDE if name in figures}
    text = f"{table(config, measured, loaded.checkpoint_step)}\n\n{listed(beside)}"
    report(workdir, figures, text)
    return figures


def identity(config: Any, workdir: Path, loaded: LoadedScore, what: str) -> dict[str, Any]:
    """All that an image's values depend on, so that only the same measurement is taken up again."""
    settings = as_json(config)
    return {
        "what": what,
        **loaded.recorded,
        "anomalies": changed(config.likelihood.anomalies),
        "checkpoints": newest_file(checkpoint_folder(workdir)),
        "averages": newest_file(averages_folder(workdir)),
        "dequantizer": newest_file(
            dequantizer_folder(workdir, loaded.checkpoint_step, loaded.sigma_rel)
        ),
        "devices": jax.device_count(),
        **{
            part: settings[part]
            for part in ("seed", "sde", "data", "model", "condition", "likelihood")
        },
    }


def read_anomalies(config: Any) -> ImagesInMemory | None:
    """The images of likelihood.anomalies, or None."""
    field, path = "likelihood.anomalies", config.likelihood.anomalies
    if not path:
        return None
    _, images = read_images(config, field, path)
    check_levels(config, f"{field}={path!r}", images)
    if len(images) < 2:
        raise UserError(f"{field}={path!r} has one image; an AUC needs two or more")
    return ImagesInMemory(images)


def described(config: Any, loaded: LoadedScore, measured: BitsPerDim) -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "mode": "likelihood",
        **config.likelihood.to_dict(),
        # Not the option of that name, which is 0 for all.
        "num_images": measured.best.bits_per_dim.shape[1],
        "seconds": measured.seconds,
        **loaded.recorded,
        "sde": config.sde.name,
        "data": config.data.name,
        "given": list(given(config)),
        "num_levels": config.data.num_levels,
        "seed": config.seed,
    }


def summary(measured: BitsPerDim) -> dict[str, float]:
    """The means, their errors over images, and the part of these that is noise of the measurement."""
    figures: dict[str, float] = {}
    for name, part in (("ode", measured.ode), ("bound", measured.bound)):
        if part is not None:
            figures |= {
                f"{name}_bits_per_dim": part.mean,
                f"{name}_standard_error": part.standard_error,
                f"{name}_own_error": part.own_error,
                f"{name}_nfe": float(part.nfe.mean()),
            }
    if measured.gap is not None:
        figures["gap"] = float(measured.gap.mean())
        figures["gap_standard_error"] = standard_error(measured.gap)
    return figures


def detection(measured: BitsPerDim, odd: BitsPerDim) -> dict[str, float]:
    """How well bits/dim tell the anomalies from the split."""
    figures: dict[str, float] = {}
    for name, normal, anomalous in (
        ("ode", measured.ode, odd.ode),
        ("bound", measured.bound, odd.bound),
    ):
        if normal is not None and anomalous is not None:
            found = auc(normal.per_image, anomalous.per_image)
            figures |= {
                f"auc_{name}": found.value,
                f"auc_{name}_standard_error": found.standard_error,
            }
    return figures


def per_image(config: Any, measured: BitsPerDim) -> dict[str, np.ndarray]:
    """Every image's values, (repeats, images) each, and the latents of the last repeat if asked for.

    Bits/dim, its own error, nats of the whole image (-ln of its probability, or density for real-valued data), evaluations.
    """
    dimension = math.prod(image_shape(config.data))
    arrays: dict[str, np.ndarray] = {}
    for name, part in (("ode", measured.ode), ("bound", measured.bound)):
        if part is not None:
            arrays |= {
                f"{name}_bits_per_dim": part.bits_per_dim,
                f"{name}_error": part.error,
                f"{name}_nats": part.bits_per_dim * dimension * math.log(2),
                f"{name}_nfe": part.nfe,
            }
    if config.likelihood.save_latents and measured.latents is not None:
        arrays["latents"] = measured.latents
    return arrays


def write(
    config: Any,
    workdir: Path,
    loaded: LoadedScore,
    measured: BitsPerDim,
    split: Any,
    arrays: dict[str, np.ndarray],
) -> dict[str, str]:
    """The arrays with the settings they were made by, and the picture. Returns where they went."""
    folder = workdir / "likelihood"
    path = unused(folder, f"{config.likelihood.split}-{loaded.name}", ".npz")
    settings = np.array(json.dumps(as_json(config)))
    write_whole(path, lambda file: np.savez(file, config_json=settings, **arrays))  # type: ignore[arg-type]
    picture = path.with_suffix(".png")
    save_likelihood_picture(picture, measured, split, config.data.num_levels or None)
    return {"arrays": str(path), "picture": str(picture)}


def distance_to_truth(
    config: Any, sde: SDE, model: Any, split: Any, ode: Measured, latents: Any
) -> dict[str, float]:
    """The exact bits/dim of the ODE's own law, and the largest difference over the images.

    The flow carries the marginal at T to the marginal at eps; the law of what starts from the prior instead has
    ln p_eps(x) + ln prior(z) - ln p_T(z) at the x whose latent is z.
    """
    latents = jnp.asarray(latents)
    n = len(latents)
    space = build_space(config)
    x = space.encode_middle(jnp.asarray(split.take(range(n)).images))
    nats = (
        model.log_density(x, jnp.full(n, config.likelihood.eps))
        + sde.prior_log_density(latents)
        - model.log_density(latents, jnp.full(n, sde.T))
    )
    exact = -np.asarray(nats, np.float64) / (x[0].size * np.log(2)) + space.bits_per_dim_offset
    return {
        "exact_bits_per_dim": float(exact.mean()),
        "largest_difference": float(np.abs(ode.bits_per_dim - exact).max()),
    }

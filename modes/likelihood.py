"""--mode likelihood: bits/dim of each image of a split, by the ODE and by the bound of the SDE."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np

from score_sde import data
from score_sde.configs.default import check_options
from score_sde.data.array_files import check_levels, read_images
from score_sde.data.fingerprint import hash_of_some
from score_sde.data.image_shape import image_shape
from score_sde.data.splits import ImagesInMemory
from score_sde.devices import check_batch
from score_sde.errors import ConfigError, UserError
from score_sde.files import user_path, write_whole
from score_sde.likelihood.bits_per_dim import BitsPerDim, measure_bits_per_dim
from score_sde.likelihood.dequantization.trained import (
    DEQUANTIZERS,
    dequantizer_folder,
    load_dequantizer,
)
from score_sde.likelihood.discrete_bound import VARIANCES
from score_sde.likelihood.figures import (
    described,
    detection,
    distance_to_truth,
    per_image,
    summary,
)
from score_sde.likelihood.options import LikelihoodOptions
from score_sde.likelihood.per_image import (
    build_per_image,
    chain_of_bound,
    decodes,
    given,
    integer_costs,
)
from score_sde.likelihood.picture import save_likelihood_picture
from score_sde.likelihood.table import table
from score_sde.models.networks import check_no_class
from score_sde.models.parameterization import refuse_discrete
from score_sde.modes.prior import say_signal_left
from score_sde.options import choose
from score_sde.progress import say
from score_sde.quality.image_sets import labels_in
from score_sde.results import listed, report
from score_sde.sde_lib import SDE
from score_sde.training.adapters import ages_of_adapters
from score_sde.training.checkpoints import checkpoint_folder
from score_sde.training.kept_averages import averages_folder
from score_sde.training.recorded_config import as_json, recorded_classes
from score_sde.training.recorded_mask import mask_of
from score_sde.training.same_data import check_same_data
from score_sde.training.trained_score import EXACT, LoadedScore, check_score_model, load_score_model
from score_sde.unfinished import (
    UnfinishedFolder,
    all_hosts_meet,
    changed,
    newest_file,
    of_all_stores,
    unused,
)

# Figures printed below the table
BESIDE = (
    "exact_bits_per_dim",
    "largest_difference",
    "auc_ode",
    "auc_ode_standard_error",
    "auc_bound",
    "auc_bound_standard_error",
    "num_anomalies",
    "seconds",
    "arrays",
    "picture",
)

LABEL = "label"
IN_WORDS = {"text": "texts", "paired": "paired images"}
FEW_FOR_AN_AUC = "an AUC needs two or more"


def check(config: Any, sde: SDE) -> None:
    """Refuse a configuration whose likelihood cannot be measured.

    Raises:
      UserError: states what was given, what was expected and what to do.
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
    if options.anomalies and options.num_images == 1:
        raise ConfigError(
            f"likelihood.num_images=1 with likelihood.anomalies={options.anomalies!r}: {FEW_FOR_AN_AUC}; set num_images to 2 or more, "
            "or 0 for all"
        )
    if not options.conditional:
        check_no_class(config, "likelihood.conditional=False")
    if options.anomalies and (others := [name for name in given(config) if name != LABEL]):
        told = " and ".join(IN_WORDS.get(name, name) for name in others)
        raise ConfigError(
            f"likelihood.anomalies={options.anomalies!r} with a model conditioned on {told}, which those images do not have; set "
            "likelihood.conditional=False to measure all images unconditionally"
        )
    if not options.ode and not options.bound_draws:
        raise ConfigError(
            "likelihood.ode=False and likelihood.bound_draws=0 leave nothing to measure; set one of them"
        )
    if options.save_latents and not options.ode:
        raise ConfigError(
            "likelihood.save_latents=True with likelihood.ode=False: only the ODE gives each image an x(T); leave one of them out"
        )
    if options.dequantization != "uniform" and not data.num_levels:
        raise ConfigError(
            f"likelihood.dequantization={options.dequantization!r} with data.num_levels=0: real-valued data need no dequantization; set "
            "dequantization='uniform'"
        )
    check_chain_options(config)
    if not config.training.continuous and options.bound_draws == 2:
        raise ConfigError(
            "likelihood.bound_draws=2 with training.continuous=False: a chain's bound needs 4 or more, two of them for the "
            "decoder"
        )
    if not config.training.continuous and not options.ode and options.decoder != "none":
        raise ConfigError(
            f"likelihood.decoder={options.decoder!r} with training.continuous=False and likelihood.ode=False: a chain's bound has its own decoder; "
            "set decoder='none'"
        )
    if options.ode:
        refuse_discrete(
            config, sde, "the likelihood of the ODE (likelihood.ode=False leaves the chain's bound)"
        )
    build_per_image(config, sde, math.prod(image_shape(data)))
    if config.model.name == EXACT and not config.training.continuous and options.bound_draws:
        raise ConfigError(
            "training.continuous=False with model.name=mixture: the exact score has no chain; leave training.continuous out"
        )


def check_chain_options(config: Any) -> None:
    """Refuse options of a discrete chain's bound with an SDE, and trained noise where nothing is dequantized."""
    options = config.likelihood
    for name in ("chain_variances", "chain_levels"):
        if config.training.continuous and options[name] != LikelihoodOptions.defaults()[name]:
            raise ConfigError(
                f"likelihood.{name}={options[name]!r} with training.continuous=True: the bound is that of the SDE, which has no chain; "
                "leave it out"
            )
    if options.dequantization != "uniform" and integer_costs(config) and not options.ode:
        raise ConfigError(
            f"likelihood.dequantization={options.dequantization!r} with likelihood.ode=False: the bound of a chain trained on levels is "
            "that of integer images, without noise; set dequantization='uniform'"
        )


def say_fewer(options: Any, there_are: int) -> None:
    """Print a note if the split has fewer images than asked for, or a single one."""
    parts = []
    if options.num_images > there_are:
        parts.append(
            f"likelihood.num_images={options.num_images} of the {options.split} split, which has {there_are}"
        )
    if there_are == 1:
        parts.append("one image has no standard error, which is nan below")
    if parts:
        say(f"note: {'; '.join(parts)}")


def run(config: Any, sde: SDE, workdir: Path) -> dict[str, Any]:
    """Measure, write the values of every image to <workdir>/likelihood/*.npz, and report and return the figures."""
    say_signal_left(sde)
    loaded = load_score_model(config, sde, workdir)
    dequantizer = load_dequantizer(config, workdir, loaded)
    datasets = data.load(config, given(config), classes=recorded_classes(workdir))
    check_same_data(datasets)
    split = getattr(datasets, config.likelihood.split)
    say_fewer(config.likelihood, split.num_images)
    anomalies = read_anomalies(config, datasets.class_names)
    if anomalies is not None and split.num_images < 2:
        raise UserError(
            f"likelihood.split={config.likelihood.split!r} of data.name={config.data.name!r} has one image; {FEW_FOR_AN_AUC}"
        )

    def measure(config: Any, split: Any, what: str) -> tuple[BitsPerDim, UnfinishedFolder]:
        images = [datasets.fingerprint, hash_of_some(split)]
        unfinished = UnfinishedFolder(
            workdir / "likelihood",
            {**identity(config, workdir, loaded, what), "images": images},
        )
        return (
            measure_bits_per_dim(
                config, sde, loaded.model, dequantizer, split, config.seed, unfinished
            ),
            unfinished,
        )

    measured, unfinished = measure(config, split, "split")
    figures = {**described(config, loaded, measured), **summary(measured)}
    if config.model.name == EXACT and measured.ode is not None and not decodes(config):
        figures |= distance_to_truth(
            config, sde, loaded.model, split, measured.ode, measured.latents
        )
    arrays = per_image(config, measured)
    leftovers, seconds = [unfinished], measured.seconds
    if anomalies is not None:
        everything = config.copy_and_resolve_references()
        everything.likelihood.num_images = 0  # num_images limits the split only, not the anomalies
        odd, unfinished = measure(everything, anomalies, "anomalies")
        leftovers.append(unfinished)
        seconds += odd.seconds
        figures |= detection(measured, odd)
        arrays |= {f"anomalies_{name}": array for name, array in per_image(config, odd).items()}
    figures |= of_all_stores(leftovers, seconds)
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
    """Everything except the images that the values depend on, so that only the same measurement is resumed."""
    settings = as_json(config)
    return {
        "what": what,
        **loaded.recorded,
        "anomalies": changed(config.likelihood.anomalies),
        "checkpoints": newest_file(checkpoint_folder(workdir)),
        "averages": newest_file(averages_folder(workdir)),
        "adapter_files": ages_of_adapters(config),
        "dequantizer": newest_file(dequantizer_folder(workdir, loaded)),
        "devices": jax.device_count(),
        **mask_of(config),
        **{
            part: settings[part]
            for part in ("seed", "sde", "data", "model", "condition", "likelihood")
        },
    }


def read_anomalies(
    config: Any, class_names: tuple[str, ...] | None = None
) -> ImagesInMemory | None:
    """The images of likelihood.anomalies, with their labels if the model is given any; None if it is empty.

    Raises:
      UserError: a file that cannot be read, or has no labels, labels of other classes or a single image.
    """
    field, path = "likelihood.anomalies", config.likelihood.anomalies
    if not path:
        return None
    what = f"{field}={path!r}"
    _, images = read_images(config, field, path)
    check_levels(config, what, images)
    if len(images) < 2:
        raise UserError(f"{what} has one image; {FEW_FOR_AN_AUC}")
    if LABEL not in given(config):
        return ImagesInMemory(images)
    labels = labels_in(what, user_path(path), len(images), class_names)
    most = config.model.num_classes
    if labels is None or labels.max() >= most:
        found = "no `labels`" if labels is None else f"labels up to {labels.max()}"
        raise UserError(
            f"{what} has {found}, with a model conditioned on classes: expected `labels`, integers (n,) from 0 to {most - 1}; add them, or set "
            "likelihood.conditional=False to measure all images unconditionally"
        )
    return ImagesInMemory(images, {LABEL: labels.astype(np.int32)})


def write(
    config: Any,
    workdir: Path,
    loaded: LoadedScore,
    measured: BitsPerDim,
    split: Any,
    arrays: dict[str, np.ndarray],
) -> dict[str, str]:
    """Write the arrays, with the config that made them, and the picture; return the paths."""
    folder = workdir / "likelihood"
    path = unused(folder, f"{config.likelihood.split}-{loaded.name}", ".npz")
    settings = np.array(json.dumps(as_json(config)))
    write_whole(path, lambda file: np.savez(file, config_json=settings, **arrays))  # type: ignore[arg-type]
    picture = path.with_suffix(".png")
    save_likelihood_picture(picture, measured, split, config.data.num_levels or None)
    return {"arrays": str(path), "picture": str(picture)}

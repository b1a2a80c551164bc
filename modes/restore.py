"""--mode restore: draw several images given each measurement, and test whether their spread is calibrated."""

from __future__ import annotations

import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import jax
import numpy as np

from score_sde.configs.default import check_options
from score_sde.devices import check_batch
from score_sde.errors import ConfigError
from score_sde.files import write_whole
from score_sde.generation.conditions import check_labels_and_texts
from score_sde.generation.denoising_errors import optimal_variance, stand_in
from score_sde.generation.generate import Generated
from score_sde.generation.guides import has_guides
from score_sde.generation.sampled_score import check_sampled_score, guided_score, within_range
from score_sde.guidance.posterior import jacobian_products_of
from score_sde.measurements.condition_image import SEED, build_condition_image
from score_sde.measurements.configured import build_measurement, fields_of
from score_sde.measurements.linear import Spectral
from score_sde.measurements.measurement import Measurement
from score_sde.models.parameterization import refuse_discrete
from score_sde.modes import sample
from score_sde.modes.prior import say_signal_left
from score_sde.options import choose
from score_sde.progress import say
from score_sde.restoration.draws import all_products, build_drawer, with_measured
from score_sde.restoration.figures import (
    Restored,
    all_ranks,
    calibration,
    determined_figures,
    distances,
    fit,
    nearness,
    reach,
)
from score_sde.restoration.methods import (
    METHODS,
    check_settings,
    configured_for,
    measured_field,
    measured_section,
    needs_errors_to_restore,
    sampler_name,
)
from score_sde.restoration.observed import Observed, check_observed, observe
from score_sde.restoration.picture import save_restored
from score_sde.restoration.table import table
from score_sde.results import listed, report
from score_sde.samplers.options import SamplingOptions
from score_sde.sde_lib import SDE
from score_sde.spaces import Space, build_space
from score_sde.training.adapters import ages_of_adapters
from score_sde.training.checkpoints import checkpoint_folder
from score_sde.training.kept_averages import averages_folder
from score_sde.training.recorded_config import as_json, recorded_classes
from score_sde.training.trained_score import LoadedScore, check_score_model, load_score_model
from score_sde.unfinished import UnfinishedFolder, all_hosts_meet, changed, newest_file, unused


def check(config: Any, sde: SDE) -> None:
    """Refuse a configuration with which images cannot be restored.

    Raises:
      UserError: states what was given, what was expected and what to do.
    """
    check_options(config)
    check_score_model(config, sde)
    sde.check_time("sampling.eps", config.sampling.eps)
    check_batch(config, "sampling.batch_size")
    space = build_space(config)
    if has_guides(config.sampling.guidance):
        raise ConfigError(
            "--mode restore with sampling.guidance.worse, worse_step or classifier: images are restored by one network; leave "
            "these fields as they are by default"
        )
    if config.condition.cascade:
        raise ConfigError(
            f"condition.cascade={config.condition.cascade!r} with --mode restore, which measures what the network is conditioned on; leave it out"
        )
    check_own_sampler(config)
    check_files(config.sampling)
    check_sampled_score(config, sde, space)
    check_labels_and_texts(config)
    build_condition_image(config)
    configured = configured_for(config, sde, stand_in(config, sde))
    if configured.any_time:
        refuse_discrete(config, sde, f"the sampler {sampler_name(config)!r}")
    measurement = measurement_of(config, space)
    check_settings(config)
    METHODS[config.restore.method].score(None, measurement, sde, config.restore)
    check_observed(config)


def check_own_sampler(config: Any) -> None:
    """Refuse CFG++ with a method that has its own sampler, since CFG++ is a step of DDIM."""
    options, plus_plus = config.restore, config.sampling.guidance.plus_plus
    if plus_plus and choose("restore.method", options.method, METHODS).sampler:
        raise ConfigError(
            f"sampling.guidance.plus_plus={plus_plus} with restore.method={options.method!r}: CFG++ is a step of DDIM, and this method takes "
            "steps of its own; set plus_plus=0 and guide by sampling.guidance.weight, or take a method with any sampler, such as pigdm"
        )


def check_files(sampling: Any) -> None:
    """Refuse options for files that only --mode sample writes.

    Raises:
      ConfigError: says what was given, and what to do.
    """
    for name in ("path_images", "save"):
        if sampling[name] != SamplingOptions.defaults()[name]:
            raise ConfigError(
                f"sampling.{name}={sampling[name]!r} with --mode restore, which writes draws as arrays and a picture, and no path to them; "
                f"set it to {SamplingOptions.defaults()[name]!r}"
            )


def measurement_of(config: Any, space: Space) -> Measurement:
    """The measurement that the network was trained for (config.condition), or that of config.restore.measurement."""
    section = measured_section(config)
    trained = METHODS[config.restore.method].trained
    seed = SEED if trained else config.seed
    return build_measurement(section, space.shape, seed, measured_field(config))


def run(config: Any, sde: SDE, workdir: Path) -> dict[str, Any]:
    """Restore, or resume an interrupted restoration; write <workdir>/restored, report and return the figures."""
    say_signal_left(sde)
    began, options, space = time.perf_counter(), config.restore, build_space(config)
    measurement, section = measurement_of(config, space), measured_section(config)
    of_middle, classes = METHODS[options.method].trained, recorded_classes(workdir)
    observed = observe(config, space, measurement, of_middle, classes)
    loaded = load_score_model(config, sde, workdir)
    variance = None
    if needs_errors_to_restore(config):
        variance = optimal_variance(config, sde, loaded, workdir)
    configured, method = configured_for(config, sde, variance), METHODS[options.method]
    if configured.note:
        say(configured.note)
    if method.sampler and config.sampling.sampler != SamplingOptions.defaults()["sampler"]:
        say(
            f"note: restore.method={options.method!r} has a sampler of its own, along sampling.pc.num_steps={config.sampling.pc.num_steps} "
            f"steps; sampling.sampler={config.sampling.sampler!r} is ignored"
        )
    model = guided_score(config, sde, loaded.model)
    score = score_given_measured(config, sde, space, measurement, model)
    drawer = build_drawer(config, sde, space, configured, observed, score)
    store = UnfinishedFolder(workdir / "restored", identity(config, workdir, loaded, observed))
    number = len(observed.y) * options.draws
    batches = list(drawer.stored_batches(score, number, config.seed, Generated.arrays, store))
    restored = of_batches(batches, observed, options.draws)
    of_sampler = sampler_figures(batches)
    del batches  # frees a second copy of the arrays
    if method.put_in:
        put_in = with_measured(measurement)
        draws = [put_in(y, x) for y, x in zip(observed.y, restored.draws, strict=True)]
        restored = restored._replace(draws=np.stack(draws))
    nfe = float(restored.nfe.mean())
    of = distances(measurement, observed, restored)
    ranks: dict[str, np.ndarray] = {}
    if is_determined(config, measurement):
        say(
            "note: the measurement determines the image, so ranks of the original among its draws would only reflect rounding errors: SBC "
            "and TARP are left out"
        )
    elif observed.x is not None:
        left_out = []
        if is_exact(config, measurement):
            left_out = determined_figures(measurement, config.seed)
        if left_out:
            say(
                f"note: the measurement determines the {', '.join(left_out)} of an image, so its rank among the draws would only reflect rounding "
                "errors: SBC leaves it out"
            )
        ranks = all_ranks(measurement, observed, restored, of, config.seed, left_out)
    figures: dict[str, Any] = {
        "mode": "restore",
        "method": options.method,
        **{name: options[name] for name in method.settings},
        "sampler": sampler_name(config),
        "images": "" if options.measured else options.images,
        "measured": options.measured,
        "num_images": len(observed.y),
        "draws": options.draws,
        "measurement": section.name,
        **{f"measurement_{name}": of for name, of in fields_of(section).items()},
        "sigma_y": section.sigma_y,
        **nearness(space, observed, restored),
        **reach(space, restored),
        **fit(observed, of),
        "nfe": nfe,
        "jacobian_products": all_products(configured, score, model, nfe),
        **of_sampler,
        **(calibration(ranks, options.draws) if ranks else {}),
        **loaded.recorded,
        "sde": config.sde.name,
        "data": config.data.name,
        **configured.settings,
        "one_by_one": config.sampling.one_by_one,
        **recorded(config),
        "seed": config.seed,
        "seconds": time.perf_counter() - began,
    }
    figures |= store.of_all_commands(figures["seconds"])
    all_hosts_meet("restored")
    if jax.process_index() == 0:
        figures |= write(config, workdir, space, measurement, observed, restored, ranks)
    store.remove()
    beside: tuple[str, ...] = ("seconds", "arrays", "picture")
    below = {name: figures[name] for name in beside if name in figures}
    report(workdir, figures, f"{table(figures)}\n\n{listed(below)}")
    return figures


def score_given_measured(
    config: Any, sde: SDE, space: Space, measurement: Measurement, model: Any
) -> Any:
    """The score of config.restore.method given the measurement, around the guided model, with sampling.threshold.

    For a method that differentiates through the model, the threshold is applied last, as with all guidance: inside, clipped pixels would
    have no gradient, and the change of the others would be unbounded. The other methods correct a denoised image that is already within
    the range; the samplers of `mcg` and `tds` differentiate through the threshold.
    """
    method, options = METHODS[config.restore.method], config.restore
    score = method.score(model, measurement, sde, options)
    if jacobian_products_of(score):
        return within_range(config, sde, space, score)
    return method.score(within_range(config, sde, space, model), measurement, sde, options)


def is_exact(config: Any, measurement: Measurement) -> bool:
    """Whether y is A x_0: no noise, and no dequantization noise within levels."""
    data = config.data
    of_middle = METHODS[config.restore.method].trained
    within_levels = bool(of_middle and data.num_levels and data.uniform_dequantization)
    return not (measurement.std > 0 or within_levels)


def is_determined(config: Any, measurement: Measurement) -> bool:
    """Whether y determines the image: it is exact, and all singular values are nonzero."""
    linear = measurement.linear
    if not is_exact(config, measurement) or not isinstance(linear, Spectral):
        return False
    return bool((linear.singular_values > 0).all())


def recorded(config: Any) -> dict[str, Any]:
    """The record of conditions as in --mode sample, without the measurement; "own" for labels and texts of the images."""
    named = {"labels": config.sampling.labels, "text": config.sampling.text}
    found = sample.recorded(config) | {"condition_images": None, "condition_cascade": None}
    own = {name: "own" for name, given in named.items() if name in found and not given}
    return {name: of for name, of in (found | own).items() if of is not None}


def identity(config: Any, workdir: Path, loaded: LoadedScore, observed: Observed) -> dict[str, Any]:
    """Everything that the draws depend on, so that only the same command resumes them; images enter by their measurements."""
    settings = as_json(config)
    given = (observed.y, observed.labels, observed.texts)
    return {
        **loaded.recorded,
        "checkpoints": newest_file(checkpoint_folder(workdir)),
        "averages": newest_file(averages_folder(workdir)),
        "adapter_files": ages_of_adapters(config),
        "observed": [None if of is None else sha256(of.tobytes()).hexdigest() for of in given],
        "mask": changed(measured_section(config).mask),
        "devices": jax.device_count(),
        **{
            part: settings[part]
            for part in ("seed", "sde", "data", "model", "condition", "sampling", "restore")
        },
    }


def of_batches(
    batches: list[dict[str, np.ndarray]], observed: Observed, num_draws: int
) -> Restored:
    """Collect the batches, in which the draws of each image are consecutive, as draws (n, num_draws, h, w, c)."""
    x, nfe = (np.concatenate([batch[name] for batch in batches]) for name in ("x", "nfe"))
    n = len(observed.y)
    return Restored(x.reshape(n, num_draws, *x.shape[1:]), nfe.reshape(n, num_draws))


def sampler_figures(batches: list[dict[str, np.ndarray]]) -> dict[str, float]:
    """The sampler's own figures, means over all draws."""
    names = set.intersection(*map(set, batches)) - {"x", "nfe"}
    return {
        name: float(np.concatenate([batch[name] for batch in batches]).mean()) for name in names
    }


def measured_words(config: Any) -> str:
    """The measurement as part of a file name: random-fraction0.3."""
    section = measured_section(config)
    words = [f"{name}{in_a_name(of)}" for name, of in fields_of(section).items() if of]
    return "-".join([section.name, *words])


def in_a_name(value: Any) -> str:
    """The value of a field in a form that is valid in a file name."""
    parts = value if isinstance(value, tuple) else (value,)
    return "x".join(Path(part).stem if isinstance(part, str) else f"{part:g}" for part in parts)


def write(
    config: Any,
    workdir: Path,
    space: Space,
    measurement: Measurement,
    observed: Observed,
    restored: Restored,
    ranks: dict[str, np.ndarray],
) -> dict[str, Any]:
    """Write the arrays and, for images with a bounded range, the picture; return the paths."""
    options = config.restore
    stem = f"{measured_words(config)}-{options.method}-seed{config.seed}"
    path = unused(workdir / "restored", stem, ".npz")
    known = {name: of for name, of in observed._asdict().items() if of is not None}
    arrays = {
        **known,
        **restored._asdict(),
        "mean": restored.mean,
        "std": restored.std,
        **{f"rank {name}": of for name, of in ranks.items()},
    }
    write_whole(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]
    found: dict[str, Any] = {"arrays": str(path)}
    if space.range is None:
        return found
    picture = path.with_suffix(".png")
    return found | save_restored(picture, space, measurement, observed, restored)

"""The methods of image restoration by name: the score given y, and the sampler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from score_sde.errors import ConfigError
from score_sde.guidance.likelihood_score import dps, mmps, pigdm, tmpd
from score_sde.guidance.posterior import PosteriorScore
from score_sde.guidance.proximal import ddnm, diffpir
from score_sde.measurements.configured import check_fields
from score_sde.measurements.measurement import Measurement
from score_sde.measurements.options import MeasurementOptions
from score_sde.options import choose
from score_sde.restoration.options import RestoreOptions
from score_sde.samplers.configured import (
    OPTIMAL,
    common_settings,
    configure,
    needs_errors,
    pc_options,
    pc_settings,
    published,
)
from score_sde.samplers.correctors import CORRECTORS
from score_sde.samplers.ddrm import DDRM, restoring
from score_sde.samplers.decoupled import DAPS, PnPDM, splitting
from score_sde.samplers.entries import FEW_STEPS
from score_sde.samplers.imputation import MCG, Imputation, RePaint, imputing
from score_sde.samplers.optimal_variance import OptimalVariance
from score_sde.samplers.options import PCOptions, SamplingOptions
from score_sde.samplers.predictors import LEARNED, PREDICTORS, Predictor
from score_sde.samplers.problem import Configured, Problem, last_step
from score_sde.samplers.published_imputation import PublishedImputation
from score_sde.samplers.record import Sampler
from score_sde.samplers.twisted import TDS, twisting
from score_sde.sde_lib import SDE


class Method(NamedTuple):
    """A restoration method."""

    score: Callable[[Any, Measurement, SDE, Any], Any]
    """Build the score given y from the model, the measurement, the process and config.restore; refuses invalid combinations even without a model."""
    sampler: Callable[[Problem, Any], Configured] | None = None
    """Build its sampler from config.sampling and config.restore; None: use the sampler named by config.sampling."""
    settings: tuple[str, ...] = ()
    """Fields of config.restore that the method reads."""
    trained: bool = False
    """Whether the network itself is conditioned on the measurement of config.condition, so that it needs no guidance."""
    put_in: bool = False
    """Whether noiseless measurements are imposed once more on the finished image, since the final denoising step changes them."""


def along_pc_grid(
    problem: Problem,
    sampler: Sampler,
    settings: dict[str, Any],
    denoises: bool,
    any_time: bool = False,
) -> Configured:
    """A method's own sampler on the time grid of `pc`; `any_time`: it also evaluates scores between grid points."""
    num_steps, suited = problem.options.pc.num_steps, problem.small_steps
    name = problem.grid_name(suited)
    grid = problem.grid(num_steps, suited)
    steps = {"num_steps": num_steps, "grid": name}
    all_settings = {**settings, **steps, **common_settings(problem, name)}
    return Configured(sampler, grid, all_settings, denoises, any_time)


def predictor_of(problem: Problem) -> Predictor:
    """The predictor of config.sampling.pc.

    Raises:
      ConfigError: no predictor, or one that depends on measured denoising errors.
    """
    name = problem.options.pc.predictor
    known = {name: predictor for name, predictor in PREDICTORS.items() if predictor is not None}
    predictor: Predictor = choose(
        "sampling.pc.predictor of imputation, MCG and RePaint", name, known
    )
    return predictor


def denoises(problem: Problem, options: Any) -> bool:
    """Whether sampling ends with a Tweedie step, the only final step that these methods support."""
    return last_step(problem.options, by=f"restore.method={options.method!r}") == "tweedie"


def imputation(problem: Problem, options: Any) -> Configured:
    """Imputation of the known pixels, with the configured predictor and corrector."""
    sampling = problem.options
    corrector = choose("sampling.pc.corrector", sampling.pc.corrector, CORRECTORS)
    predictor = predictor_of(problem)
    sampler = Imputation(problem.sde, predictor, corrector, sampling.snr, sampling.n_steps_each)
    return along_pc_grid(problem, sampler, pc_settings(sampling), denoises(problem, options))


def imputation_published(problem: Problem, options: Any) -> Configured:
    """Imputation as in the published code, on its time grid."""
    configured = published(problem, PublishedImputation)
    settings = {**configured.settings, **common_settings(problem)}
    return configured._replace(settings=settings)


def mcg(problem: Problem, options: Any) -> Configured:
    """MCG, with the configured predictor."""
    sampler = MCG(problem.sde, predictor_of(problem), options.scale)
    settings = {"predictor": problem.options.pc.predictor}
    return along_pc_grid(problem, sampler, settings, denoises(problem, options))


def repaint(problem: Problem, options: Any) -> Configured:
    """RePaint, with the configured predictor."""
    sampler = RePaint(problem.sde, options.repeats, predictor_of(problem))
    settings = {"predictor": problem.options.pc.predictor}
    return along_pc_grid(problem, sampler, settings, denoises(problem, options))


def ddrm(problem: Problem, options: Any) -> Configured:
    """DDRM, whose own last step already ends at the data."""
    ends = denoises(problem, options)
    return along_pc_grid(problem, DDRM(problem.sde, options.eta, options.eta_b, ends), {}, False)


def daps(problem: Problem, options: Any) -> Configured:
    """DAPS on the time grid of pc."""
    sampler = DAPS(problem.sde, ode_steps=options.ode_steps)
    return along_pc_grid(problem, sampler, {}, denoises(problem, options), True)


def pnpdm(problem: Problem, options: Any) -> Configured:
    """PnP-DM on the time grid of pc."""
    sampler = PnPDM(problem.sde, options.coupling, options.prior_steps)
    return along_pc_grid(problem, sampler, {}, denoises(problem, options), True)


def tds(problem: Problem, options: Any) -> Configured:
    """TDS, which weights its final states as they are, so noise_removal does not apply."""
    configured = along_pc_grid(problem, TDS(problem.sde, options.particles), {}, False)
    settings = {name: of for name, of in configured.settings.items() if name != "noise_removal"}
    return configured._replace(settings=settings)


def by_conjugate_gradients(
    model: Any, measurement: Measurement, sde: SDE, options: Any
) -> PosteriorScore:
    """The score of MMPS. On a CPU its iterations are unrolled, because gradients of convolutions are slow within loops there."""
    unrolled = jax.default_backend() == "cpu"
    return mmps(model, measurement, sde, options.iterations, unrolled)


METHODS: dict[str, Method] = {
    "mmps": Method(by_conjugate_gradients, settings=("iterations",)),
    "tmpd": Method(lambda model, y, sde, o: tmpd(model, y, sde)),
    "pigdm": Method(lambda model, y, sde, o: pigdm(model, y, sde)),
    "dps": Method(lambda model, y, sde, o: dps(model, y, sde, o.scale), settings=("scale",)),
    "ddnm": Method(lambda model, y, sde, o: ddnm(model, y, sde)),
    "diffpir": Method(
        lambda model, y, sde, o: diffpir(model, y, sde, o.weight), settings=("weight",)
    ),
    "imputation": Method(
        lambda model, y, sde, o: imputing(model, y, sde, o.method), imputation, put_in=True
    ),
    "imputation_published": Method(
        lambda model, y, sde, o: imputing(model, y, sde, o.method), imputation_published
    ),
    "mcg": Method(
        lambda model, y, sde, o: imputing(model, y, sde, o.method), mcg, ("scale",), put_in=True
    ),
    "repaint": Method(
        lambda model, y, sde, o: imputing(model, y, sde, o.method),
        repaint,
        ("repeats",),
        put_in=True,
    ),
    "ddrm": Method(lambda model, y, sde, o: restoring(model, y, sde), ddrm, ("eta", "eta_b")),
    "daps": Method(lambda model, y, sde, o: splitting(model, y, sde), daps, ("ode_steps",)),
    "pnpdm": Method(
        lambda model, y, sde, o: splitting(model, y, sde), pnpdm, ("coupling", "prior_steps")
    ),
    "tds": Method(lambda model, y, sde, o: twisting(model, y, sde), tds, ("particles",)),
    "trained": Method(lambda model, y, sde, o: model, trained=True),
}


def configured_for(config: Any, sde: SDE, variance: OptimalVariance | None = None) -> Configured:
    """Build the sampler of config.restore.method, using the score model's denoising errors where it needs them.

    Raises:
      ConfigError: an unknown method, or a sampler that does not work with it.
    """
    options, sampling = config.restore, config.sampling
    method = choose("restore.method", options.method, METHODS)
    if sampling.t_start or sampling.start_images:
        raise ConfigError(
            "sampling.t_start or start_images with --mode restore: an image is known only by its measurement, so sampling starts from the "
            "prior; leave them out"
        )
    if method.sampler is not None:
        configured = method.sampler(Problem(sampling, sde, variance), options)
        return configured._replace(note=unread(options.method, sampling, configured.settings))
    if not method.trained:
        check_asks_for_a_score(options.method, sampling)
    return configure(sampling, sde, variance)


def unread(method: str, sampling: Any, settings: dict[str, Any]) -> str:
    """A note on options of the predictor-corrector that are set and are not among the `settings` of the method's own sampler."""
    defaults = SamplingOptions.defaults()
    defaults.pc = PCOptions.defaults()
    given, usual = pc_options(sampling), pc_options(defaults)
    ignored = [name for name in given if name not in settings and given[name] != usual[name]]
    if not ignored:
        return ""
    fields = ", ".join(
        f"sampling.{'pc.' if name in sampling.pc else ''}{name}={given[name]!r}" for name in ignored
    )
    return f"note: restore.method={method!r} has a sampler of its own, which does not use {fields} of the config"


def needs_errors_to_restore(config: Any) -> bool:
    """Whether the sampler needs the score model's denoising errors; a method's own sampler needs them only for its grid."""
    sampling = config.sampling
    own = METHODS[config.restore.method].sampler is not None
    return bool(sampling.grid.name == "dp") if own else needs_errors(sampling)


def check_asks_for_a_score(method: str, sampling: Any) -> None:
    """Refuse a sampler that uses more of the network than its score, or its denoising errors, which ignore the measurement.

    Raises:
      ConfigError: a sampler of few-step networks, or a predictor with a learned or optimal variance.
    """
    asked = {"sampler": (sampling.sampler, set(FEW_STEPS))}
    if sampling.sampler == "pc" and sampling.pc.predictor == OPTIMAL:
        raise ConfigError(
            f"sampling.pc.predictor={OPTIMAL!r} with restore.method={method!r}: its variance is optimal only for images without a "
            "measurement; use ancestral_sampling"
        )
    if sampling.sampler == "pc":
        asked["pc.predictor"] = (sampling.pc.predictor, set(LEARNED))
    for field, (name, others) in asked.items():
        if name in others:
            raise ConfigError(
                f"sampling.{field}={name!r} with restore.method={method!r}: the method changes the score, and this needs more from the "
                f"network than its score; use another, such as sampling.{field}={'unipc_3' if field == 'sampler' else 'ancestral_sampling'}"
            )


def check_settings(config: Any) -> None:
    """Refuse options that belong to another method or measurement.

    Raises:
      ConfigError: an option with no effect is set.
    """
    options = config.restore
    readers = {name: method.settings for name, method in METHODS.items()}
    RestoreOptions.refuse_unused(options, "restore", "method", readers)
    if not METHODS[options.method].trained:
        check_fields(options.measurement, "restore.measurement")


def measured_section(config: Any) -> Any:
    """The section of the config that describes the measurement.

    Raises:
      ConfigError: it is not the measurement on which the network is conditioned.
    """
    options = config.restore
    if not METHODS[options.method].trained:
        if config.model.condition_image != "none":
            raise ConfigError(
                f"restore.method={options.method!r} with a network of model.condition_image={config.model.condition_image!r}: such a "
                "network is conditioned on the measurement, not guided to it; set restore.method=trained"
            )
        return options.measurement
    if config.model.condition_image != "measured":
        raise ConfigError(
            f"restore.method='trained' with model.condition_image={config.model.condition_image!r}: expected a network conditioned on the "
            "measurement of config.condition, model.condition_image=measured"
        )
    changed = [
        name
        for name, of in MeasurementOptions.defaults().items()
        if options.measurement[name] != of
    ]
    if changed:
        raise ConfigError(
            f"restore.measurement.{changed[0]} with restore.method='trained': such a network is conditioned on the measurement of "
            "config.condition, with which it was trained; leave it out"
        )
    return config.condition


def measured_field(config: Any) -> str:
    """Name of the section that describes the measurement, for messages."""
    return "condition" if METHODS[config.restore.method].trained else "restore.measurement"


def sampler_name(config: Any) -> str:
    """Name of the sampler: the method's own name if it has its own sampler."""
    options = config.restore
    return options.method if METHODS[options.method].sampler else config.sampling.sampler

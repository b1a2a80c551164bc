"""Runs of few-step networks: training, resuming, distillation, sampling; and what is refused."""

import shutil

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs import flow_digits, subvp_digits
from score_sde.errors import ConfigError, UserError
from score_sde.models.conditions import null_condition
from score_sde.models.networks import NETWORKS
from score_sde.models.score import INTERVAL
from score_sde.modes import interpolate, likelihood, restore, sample, train
from score_sde.sde_lib import build_sde
from score_sde.training.checkpoints import restore_ema
from score_sde.training.kinds import KINDS
from score_sde.training.recorded_config import record_config
from score_sde.training.score_task import with_weights
from score_sde.training.state import init_params
from score_sde.training.teacher import check_first_time, check_teacher
from score_sde.training.trained_score import load_score_model


class Small(nn.Module):
    """x times a matrix, and what it is told of time, interval and class."""

    num_classes: int
    condition_interval: bool

    @classmethod
    def from_config(cls, config):
        return cls(config.model.num_classes, config.model.condition_interval)

    @staticmethod
    def conditions(config):
        return ("label",) if config.model.num_classes else ()

    def null_condition(self, condition):
        others = {name: of for name, of in dict(condition).items() if name != INTERVAL}
        return null_condition(others or (), self.num_classes)

    @nn.compact
    def __call__(self, x, noise_input, condition=(), dropout_keys=None):
        told = dict(condition)
        numbers = [
            noise_input,
            told.get(INTERVAL, 0 * noise_input),
            told.get("label", 0 * noise_input),
        ]
        level = nn.Dense(4)(jnp.stack(numbers, axis=1).astype(x.dtype) / 10)
        h = nn.Dense(4)(x) + level[:, None, None]
        return nn.Dense(1)(nn.swish(h))


@pytest.fixture(autouse=True, scope="module")
def _small_network():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETWORKS, "small", Small)
        yield


def small(config, **changes):
    config.update_from_flattened_dict(
        {
            "model.name": "small",
            "model.num_classes": 10,
            "training.n_iters": 8,
            "training.batch_size": 8,
            "training.eval_freq": 8,
            "training.log_freq": 4,
            "training.checkpoint_freq": 4,
            "training.snapshot_freq": 0,
            "optim.warmup": 2,
            "optim.decay": "none",
            "sampling.num_images": 4,
            "sampling.batch_size": 4,
            **changes,
        }
    )
    return config


def consistency(**changes):
    return small(subvp_digits.get_config("consistency"), **changes)


def mean_flow(**changes):
    return small(flow_digits.get_config("mean_flow"), **changes)


def teacher(**changes):
    return small(subvp_digits.get_config("edm"), **changes)


def trained(config, folder):
    folder.mkdir(exist_ok=True)
    sde = build_sde(config)
    return train.run(config, sde, folder, *train.check(config, sde))


def drawn(config, folder):
    sde = build_sde(config)
    (configured,) = sample.check(config, sde)
    figures = sample.run(config, sde, folder, configured)
    with np.load(figures["arrays"]) as file:
        return figures, file["images"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Of each task, and of a consistency model that was distilled."""
    folder = tmp_path_factory.mktemp("few")
    steady = {"consistency.first_intervals": 160}  # whatever the length of the run
    unheld = {"training.eval_freq": 0}  # the others' loss of held-out images is the same functions'
    made = {
        "consistency": consistency(**steady),
        "mean_flow": mean_flow(),
        "teacher": teacher(**unheld),
    }
    for name, config in made.items():
        trained(config, folder / name)
    made["distilled"] = consistency(**unheld, **{"consistency.teacher": str(folder / "teacher")})
    trained(made["distilled"], folder / "distilled")
    return folder, made


def test_they_train_and_draw(folders):
    """Sampling with one evaluation and with a given number; each network gives different images.

    A distilled network is sampled like any other consistency model."""
    folder, made = folders
    images = {}
    for name in ("consistency", "mean_flow", "distilled"):
        config = made[name].copy_and_resolve_references()
        figures, images[name] = drawn(config, folder / name)
        assert figures["nfe"] == 1
        assert images[name].shape == (4, 8, 8, 1)
        if name == "distilled":
            continue
        config.sampling.few_steps.num_steps = 3
        figures, more = drawn(config, folder / name)
        assert figures["nfe"] == 3
        assert (more != images[name]).any()
    assert (images["consistency"] != images["distilled"]).any()


@pytest.mark.parametrize("name", ["consistency", pytest.param("mean_flow", marks=pytest.mark.slow)])
def test_a_resumed_run_is_the_run_without_a_stop(folders, tmp_path, name):
    folder, made = folders
    config = made[name].copy_and_resolve_references()
    config.training.n_iters = 4
    trained(config, tmp_path / "run")
    trained(made[name], tmp_path / "run")
    template = jax.eval_shape(lambda: init_params(config, Small.from_config(config)))
    ours, theirs = (restore_ema(of, template)[0] for of in (folder / name, tmp_path / "run"))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_a_run_of_before_resumes_with_a_teacher_of_later_times(folders, tmp_path):
    """Its first time is checked when a run begins, not against the copy that the run keeps."""
    folder, made = folders
    shutil.copytree(folder / "distilled", tmp_path / "distilled")
    record_config(teacher(**{"training.eps": 0.1}), tmp_path / "later", None)
    shutil.copy(tmp_path / "later" / "config.json", tmp_path / "distilled" / "teacher.json")
    task = KINDS["consistency"].build(made["distilled"], None)
    assert jax.tree.leaves(with_weights(task, tmp_path / "distilled")[0].constants)


def test_a_run_keeps_the_teacher_that_it_began_with(folders, tmp_path):
    """Whatever happens to the teacher's folder, both for weights and prediction kind; a new run takes the teacher's current state."""
    folder, made = folders
    for name in ("teacher", "distilled"):
        shutil.copytree(folder / name, tmp_path / name)
    config = made["distilled"].copy_and_resolve_references()
    config.consistency.teacher = str(tmp_path / "teacher")
    task = KINDS["consistency"].build(config, None)

    def teacher_of(workdir):
        return with_weights(task, workdir)[0].constants

    began = teacher_of(tmp_path)
    assert jax.tree.leaves(began)
    record_config(teacher(**{"model.predicts": "noise"}), tmp_path / "teacher", None)
    assert repr(teacher_of(tmp_path).parameterization) != repr(began.parameterization)
    for _ in range(2):
        kept = teacher_of(tmp_path / "distilled")
        assert repr(kept.parameterization) == repr(began.parameterization)
        jax.tree.map(np.testing.assert_array_equal, kept.params, began.params)
        shutil.rmtree(tmp_path / "teacher", ignore_errors=True)
    with pytest.raises(ConfigError, match="does not exist"):
        teacher_of(tmp_path)
    recorded = tmp_path / "distilled" / "config.json"
    recorded.write_text(recorded.read_text().replace(str(folder), str(tmp_path)))
    config.training.n_iters = 9
    assert trained(config, tmp_path / "distilled")["step"] == 9


@pytest.mark.parametrize(
    ("decay", "words"),
    [
        ("none", "the number of time intervals (consistency.last_intervals) will"),
        ("cosine", "the learning rate (optim.decay) and the number of time intervals"),
    ],
)
def test_another_number_of_updates_moves_what_is_spread_over_them(tmp_path, capsys, decay, words):
    """The change is reported, but nothing is for a new run, without a change, or without a schedule over the updates."""
    config, plain = consistency(**{"optim.decay": decay}), teacher()
    for made, folder in ((config, tmp_path / "few"), (plain, tmp_path / "score")):
        for n_iters, checkpoint in ((8, None), (8, 4), (16, 8)):
            made.training.n_iters = n_iters
            if checkpoint:
                (folder / "checkpoints" / str(checkpoint)).mkdir(parents=True)
            folder.mkdir(exist_ok=True)
            said = capsys.readouterr().err
            assert "new schedule" not in said
            KINDS[made.training.task].build(made, None).record(folder)
        said = capsys.readouterr().err
        assert "from step 8 on: training.n_iters=16 (before: 8)" in said
        assert (words in said) == (made is config)
        assert ("will continue from step 8 of the new schedule of 16 updates" in said) == (
            made is config
        )


def test_going_back_by_another_config_moves_nothing(folders):
    folder, made = folders
    config = made["mean_flow"].copy_and_resolve_references()
    config.checkpoint_step, config.mean_flow.power = 4, 0.5
    with pytest.raises(UserError, match="mean_flow.power=0.5 .trained with"):
        trained(config, folder / "mean_flow")
    assert not list((folder / "mean_flow").glob("after_step_*"))


def test_a_teacher_that_is_forgotten_is_named(folders):
    """Its weights in the folder are not reported as damaged, nor read as another task's."""
    folder, made = folders
    config = made["distilled"].copy_and_resolve_references()
    config.consistency.teacher = ""
    with pytest.raises(UserError, match="consistency.teacher='' .trained with"):
        trained(config, folder / "distilled")


def test_without_guidance_a_mean_flow_network_is_a_flow(folders):
    """With interval 0: it samples by the ODE, and has likelihoods."""
    folder, made = folders
    config = made["mean_flow"].copy_and_resolve_references()
    config.sampling.sampler = "ode"
    config.sampling.ode.update(steps="grid", num_steps=2, solver="euler")
    figures, _ = drawn(config, folder / "mean_flow")
    assert figures["nfe"] >= 2
    likelihood.check(config, build_sde(config))


def test_a_loaded_consistency_model_has_no_score(folders):
    folder, made = folders
    config = made["consistency"]
    model = load_score_model(config, build_sde(config), folder / "consistency").model
    x, t = jnp.ones((2, 8, 8, 1)), jnp.full(2, config.training.eps)
    model = model.given({"label": jnp.arange(2)})
    np.testing.assert_array_equal(model.consistency(x, t), x)
    with pytest.raises(ConfigError, match="has no score, hence no likelihood"):
        model(x, t)


@pytest.mark.parametrize("mode", [likelihood, interpolate, restore])
def test_modes_of_a_score_refuse_a_consistency_model(mode):
    config = consistency()
    with pytest.raises(
        ConfigError, match="predicts where the probability flow ends and has no score"
    ):
        mode.check(config, build_sde(config))


WRONG = [
    (consistency, {"sampling.sampler": "ode"}, "sampling.sampler='ode' with training.task='consistency'"),
    (consistency, {"sampling.sampler": "mean_flow"}, "sampling.sampler='mean_flow' with training.task='consistency'"),
    (teacher, {"sampling.sampler": "consistency"}, "it samples from a network trained with training.task='consistency'"),
    (teacher, {"sampling.sampler": "pc", "sampling.pc.predictor": "ancestral_sampling_learned"}, "'ancestral_sampling_learned' with model.learned_variance=False"),
    (consistency, {"sampling.eps": 0.01}, "sampling.eps=0.01 with training.eps=0.002.*set sampling.eps=0.002"),
    (consistency, {"sampling.guidance.weight": 1.0, "training.label_dropout": 0.1}, "sampling.guidance with"),
    (mean_flow, {"sampling.threshold": "static"}, "sampling.threshold with"),
    (mean_flow, {"sampling.one_by_one": True}, "sampling.one_by_one with"),
    (mean_flow, {"sampling.few_steps.num_steps": 0}, "few_steps.num_steps=0"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "changes", "words"), WRONG)
def test_what_cannot_be_drawn_is_refused(make, changes, words):
    config = make(**changes)
    with pytest.raises(UserError, match=words):
        sample.check(config, build_sde(config))


def test_guided_restoration_asks_for_scores_alone():
    """A sampler or predictor that uses other outputs of the network would ignore the measurement."""
    config = mean_flow(**{"restore.method": "mmps"})
    with pytest.raises(
        UserError,
        match="sampler='mean_flow' with restore.method='mmps': .* as sampling.sampler=unipc_3",
    ):
        restore.check(config, build_sde(config))
    config = teacher(
        **{
            "sampling.sampler": "pc",
            "sampling.pc.predictor": "ancestral_sampling_learned",
            "restore.method": "dps",
        }
    )
    config.model.learned_variance = True
    with pytest.raises(
        UserError, match="predictor='ancestral_sampling_learned' with restore.method='dps'"
    ):
        restore.check(config, build_sde(config))


UNTRAINABLE = [
    (consistency, {"training.weighting": "noise"}, "training.weighting='noise' is unknown; choose one of uniform, log_normal"),
    (consistency, {"consistency.first_intervals": 200}, "first_intervals=200, last_intervals=160"),
    (consistency, {"training.learned_uncertainty": True}, "learned_uncertainty=True with training.task='consistency'"),
    (consistency, {"consistency.teacher": "nowhere"}, "consistency.teacher='nowhere'.*does not exist"),
    (mean_flow, {"model.condition_interval": False}, "set model.predicts='flow'.*condition_interval=True"),
    (mean_flow, {"model.predicts": "x0"}, "set model.predicts='flow'"),
    (mean_flow, {"sde.name": "vp", "model.predicts": "flow"}, "set sde.name='linear'"),
    (mean_flow, {"training.weighting": "edm"}, "training.weighting='edm' is unknown"),
    (mean_flow, {"training.continuous": False}, "training.continuous=False|no published discrete chain"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "changes", "words"), UNTRAINABLE)
def test_what_cannot_be_trained_is_refused(make, changes, words, tmp_path):
    config = make(**changes)
    with pytest.raises(UserError, match=words):
        trained(config, tmp_path)


TEACHERS = [
    ("consistency", {}, "trained by training.task='consistency'"),
    ("teacher", {"model.num_classes": 0}, "is conditioned on 10 classes.*'none'|is conditioned on 10 classes, but .* none"),
    ("teacher", {"data.centered": False}, "another space of images"),
    ("mean_flow", {}, "trained by training.task='mean_flow'"),
    ("teacher", {"sde.name": "vp"}, "another process"),
    ("teacher", {"training.eps": 0.001}, "from training.eps=0.002 on, but .* training.eps=0.001 on; set training.eps=0.002 and sampling.eps=0.002"),
    ("teacher", {"training.label_dropout": 0.1}, "needs the unconditional score .no class."),
    ("teacher", {"training.augment": 0.1, "model.name": "edm_unet"}, "training.augment=0.1: the teacher was trained without"),
    ("teacher", {"model.words": "one two", "model.name": "ncsnpp"}, "conditioned on label, but the student on label and text"),
    ("words", {}, "was trained with the words one two, but the student has none"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "changes", "words"), TEACHERS)
def test_a_teacher_that_does_not_fit_is_refused(folders, tmp_path, name, changes, words):
    folder, _ = folders
    if name == "words":
        (folder / name).mkdir()
        record_config(
            teacher(**{"model.num_classes": 0, "model.words": "one two"}), folder / name, None
        )
    config = consistency(**{"consistency.teacher": str(folder / name), **changes})
    with pytest.raises(ConfigError, match=words):
        trained(config, tmp_path)


def test_how_a_teacher_rounds_its_samples_is_nothing_to_the_network(tmp_path):
    """Not even if the teacher could not be sampled that way."""
    record_config(teacher(**{"sampling.truncate": True}), tmp_path, None)
    config = consistency(**{"consistency.teacher": str(tmp_path)})
    assert check_teacher(config, build_sde(config), tmp_path).sampling.truncate


def test_a_teacher_may_have_been_trained_further_down(tmp_path):
    record_config(teacher(**{"training.eps": 0.001}), tmp_path, None)
    config = consistency(**{"consistency.teacher": str(tmp_path)})
    found = check_teacher(config, build_sde(config), tmp_path)
    assert found.training.eps == 0.001
    check_first_time(config, found)


def test_kinds_of_the_three_are_other_tasks():
    assert {"consistency", "mean_flow"} < set(KINDS)
    assert all(KINDS[name].draws for name in ("score", "consistency", "mean_flow"))

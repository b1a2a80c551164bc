"""Mistakes on the command line: one line with advice, status 2, nothing written."""

import os
import re
import subprocess
import sys
from pathlib import Path

import flax.linen as nn
import pytest

import main
from score_sde.command_line import config_name, parse, prepared
from score_sde.configs.vp_digits import get_config as digits_config
from score_sde.errors import ConfigError, UserError
from score_sde.models.networks import NETWORKS
from score_sde.unread import unread_fields

ROOT = Path(__file__).parent.parent
TOY = "--config=configs/toy_mixture.py"
DIGITS = "--config=configs/vp_digits.py"
CIFAR = "--config=configs/vp_cifar.py"
VE_DISCRETE = "--config=configs/ve_cifar.py:ncsnpp_discrete"

MISTAKES = [
    ("--mode=train", "--config is missing: give one, as configs/"),
    (
        f"{DIGITS}",
        r"--mode is missing: give one \(data, train, .*report\)",
    ),
    ("--config=configs/none.py --mode=train", "cannot read the config file .* No such file"),
    (
        f"{DIGITS} --mode=train --config.training.batchsize=3",
        "did you mean --config.training.batch_size",
    ),
    (
        f"{DIGITS} --mode=train --config.training.batch_size=abc",
        "batch_size=abc: expected an integer",
    ),
    (
        f"{DIGITS} --mode=train --config.training.batch_size=3.5",
        "batch_size=3.5: expected an integer",
    ),
    (f"{DIGITS} --mode=train --config.model.fir=perhaps", "model.fir=perhaps"),
    (f"{DIGITS} --mode=dream", "choose one of data, train, .*, report$"),
    (f"{DIGITS} --mode=sample --sampler=magic", "choose one of pc, pc_published, ode"),
    (
        f"{DIGITS} --mode=tradeoff --sampler=ode",
        "--sampler=ode goes with --mode train, sample, interpolate, restore, evaluate, not with tradeoff: name samplers with --config.tradeoff.samplers",
    ),
    (f"{DIGITS} --mode=likelihood --sampler=ode", "not with likelihood: leave it out"),
    # What was perhaps meant.
    (f"{DIGITS} --mode=trian", "did you mean train?"),
    (f"{DIGITS} --mode=sample --sampler=unipc3", "did you mean unipc_3?"),
    (f"{DIGITS} --mode=sample --config.sampling.sampler=unipc3", "did you mean unipc_3?"),
    (f"{DIGITS} --mode=train --config.sde.name=sub_vp", "did you mean subvp?"),
    ("--config=vp_digit --mode=train", "did you mean --config configs/vp_digits.py?"),
    ("--config=configs/vp-digits.py --mode=train", "did you mean --config configs/vp_digits.py?"),
    (f"{CIFAR}:ddpmp --mode=train", "did you mean ddpmpp?"),
    (f"{DIGITS} --mode=train --config.grid.name=rho", "mean --config.sampling.grid.name?"),
    (f"{DIGITS} --mode=train --training.n_iters=3", "did you mean --config.training.n_iters?"),
    (f"{DIGITS} --mode=train --configs.optim.lr=3", "did you mean --config.optim.lr?"),
    (
        f"{DIGITS} --mode=train --workdri=x",
        "unexpected flag '--workdri=x'.*did you mean --workdir?",
    ),
    (f"{DIGITS} train", "unexpected argument 'train'; .*did you mean --mode train?"),
    (
        f"{DIGITS} --mode=train --config.training=3",
        "config.training is a section: set its fields one by one",
    ),
    (f"{DIGITS} --mode=train extra", "unexpected argument 'extra'"),
    (
        f"{DIGITS} --mode=sample --sampler=ddim --config.sampling.num_steps=5",
        r"did you mean --config.sampling.exponential.num_steps, --config\.",
    ),
    (f"{DIGITS} --mode=train --seed=3", "unexpected flag '--seed=3'.*did you mean --config.seed"),
    (f"{DIGITS} --mode=sample --num_images 5", r"did you mean .*--config.sampling.num_images"),
    (f"{DIGITS} --mode=train --bach_size=5", r"did you mean --config..*batch_size"),
    (
        f"{DIGITS} --mode=train --config.training.n_iters=1e3",
        "--config.training.n_iters=1e3: expected an integer, such as 1000",
    ),
    (f"{DIGITS} --mode=train --config.seed=", "--config.seed=: expected an integer"),
    (f"{DIGITS} --mode=train --config.optim.lr=a", "--config.optim.lr=a: expected a number"),
    (f"{DIGITS} --mode=train --config.data.centered=7", "data.centered=7: expected True or False"),
    # A truth value is a flag alone, or follows =.
    (f"{DIGITS} --mode=train --config.model.fir false", "unexpected argument 'false'"),
    (f"{TOY} --mode=likelihood --noconfig.training.continuous", "the exact score has no chain"),
    (
        f"{TOY} --mode=sample --config.sampling.threshold=static",
        "such data have no range to keep within",
    ),
    (
        f"{DIGITS} --mode=sample --config.sampling.pc.predictor=none --config.sampling.pc.corrector=ald "
        "--sampler=pc --config.sampling.pc.num_steps=1",
        "is the number of noise levels: expected 2 or more",
    ),
    (f"{DIGITS} --mode=train --nonsense=1", "nonsense"),
    (
        f"{DIGITS} --mode=sample --config.sampling.guides=test",
        "--config.sampling.guides is now --config.sampling.start_images",
    ),
    (
        f"{DIGITS} --mode=sample --config.likelihood.rtol=nan",
        "rtol=nan: expected a positive number",
    ),
    (
        f"{DIGITS} --mode=sample --config.seed=4294967296",
        r"seed=4294967296: expected an integer from 0 to 2\^32 - 1",
    ),
    (
        f"{DIGITS} --mode=sample --config.sampling.labels=a",
        r"sampling.labels=\('a',\): expected integers",
    ),
    (
        f"{DIGITS} --mode=interpolate --config.sampling.guidance.weight=1",
        "interpolation is unconditional",
    ),
    (
        f"{DIGITS} --mode=interpolate --config.sampling.guidance.rescale=0.7",
        "interpolation is unconditional",
    ),
    (
        f"{DIGITS} --mode=likelihood --config.model.num_classes=10 --config.likelihood.conditional=False",
        "label_dropout=0 has not learned",
    ),
    (
        f"{DIGITS} --mode=train --config.training.snapshot_size=0",
        "snapshot_size=0: expected a positive",
    ),
    (
        f"{DIGITS} --mode=train --config.training.snapshot_steps=-1",
        "snapshot_steps=-1: expected 0 or more",
    ),
    (
        f"{VE_DISCRETE} --mode=train --config.training.snapshot_steps=9",
        "is defined only at its own noise levels",
    ),
    (f"{DIGITS} --mode=train --config.training.wandb=x", "choose one of none, online, offline"),
    ("--mode=report", "nothing to report in --workdir="),
    (f"{DIGITS}:huge --mode=train", "has no variants"),
    (f"{CIFAR}:huge --mode=train", "unknown variant 'huge'; choose one of ddpmpp, ddpmpp_deep"),
    (f"{TOY} --mode=train", "nothing to train"),
    (f"{TOY} --mode=sample --config.data.name=digits", "is the exact score of data.name=mixture"),
    (f"{TOY} --mode=sample --config.data.centered=True", "set data.centered=False"),
    (
        f"{TOY} --mode=sample --config.sde.name=vvp",
        "sde.name='vvp' is unknown; choose one of vp, subvp, ve",
    ),
    (
        f"{TOY} --mode=sample --config.sampling.pc.predictor=euler",
        "predictor='euler' is unknown; choose",
    ),
    (f"{TOY} --mode=sample --config.sampling.pc.corrector=x", "corrector='x' is unknown; choose"),
    (
        f"{TOY} --mode=sample --config.sampling.pc.predictor=none --config.sampling.pc.corrector=none",
        "the state would never change",
    ),
    (f"{TOY} --mode=sample --config.sampling.sampler=x", "sampling.sampler='x' is unknown; choose"),
    (
        f"{TOY} --mode=sample --sampler=ode --config.sampling.ode.solver=euler",
        "solver='euler' is unknown; choose",
    ),
    (
        f"{TOY} --mode=sample --sampler=ode --config.sampling.ode.rtol=-1",
        "sampling.ode.rtol=-1.0: expected a positive number",
    ),
    (
        f"{TOY} --mode=sample --config.sampling.t_start=0.5",
        "starting at a time other than T requires both",
    ),
    (
        f"{DIGITS} --mode=train --config.training.snapshot_steps=0 --config.sampling.t_start=0.5 --config.sampling.start_images=test",
        "the pictures drawn in training start from the prior",
    ),
    (
        f"{DIGITS} --mode=train --config.training.snapshot_steps=0 --config.sampling.grid.name=dp",
        "candidates=100: expected more than the 200 steps",
    ),
    (
        f"{DIGITS} --mode=train --config.training.snapshot_steps=0 --config.sampling.grid.name=dp --config.sampling.grid.candidates=300",
        "have no denoising errors",
    ),
    (
        f"{TOY} --mode=sample --config.sampling.errors.num_times=1",
        "errors.num_times=1: expected 2 or more",
    ),
    (f"{TOY} --mode=interpolate --sampler=pc", "only the probability-flow ODE gives an image"),
    (
        f"{TOY} --mode=interpolate --config.sampling.sampler=edm",
        "only the probability-flow ODE gives an image",
    ),
    (
        f"{TOY} --mode=sample --sampler=ode --config.sampling.noise_removal_by=predictor_mean",
        "only the steps of pc have a predictor_mean",
    ),
    (f"{TOY} --mode=likelihood --config.likelihood.atol=0", "atol=0.0: expected a positive number"),
    (
        f"{TOY} --mode=sample --config.sampling.pc.num_steps=-5",
        "pc.num_steps=-5: expected a positive",
    ),
    (
        f"{TOY} --mode=sample --config.sampling.grid.name=cosine",
        "sampling.grid.name='cosine' is unknown; choose one of auto, uniform, ",
    ),
    (
        f"{TOY} --mode=sample --sampler=pc_published --config.sampling.grid.name=rho",
        "this sampler reproduces the published times and steps",
    ),
    (
        f"{TOY} --mode=sample --config.sampling.pc.num_steps=2 --config.sampling.grid.name=times "
        "--config.sampling.grid.times=(1.0,0.5)",
        "has 2 times, which are 1 steps, but num_steps=2",
    ),
    (
        f"{DIGITS} --mode=train --config.ema_sigma_rel=0.1",
        "ema_sigma_rel=0.1 chooses the weights to",
    ),
    (f"{TOY} --mode=sample --config.ema_sigma_rel=0.1", "an exact score has no weights"),
    (f"{DIGITS} --mode=sample --config.ema_sigma_rel=0.3", "ema_sigma_rel=0.3: expected a width"),
    (
        f"{DIGITS} --mode=train --config.training.ema.sigma_rel=(0.1,0.1)",
        r"training.ema.sigma_rel=\(0.1, 0.1\): expected widths above 0 and below 0.28, all different",
    ),
    (
        f"{DIGITS} --mode=import --source=main.py --config.training.ema.sigma_rel=(0.1,)",
        r"a published file has none; set training.ema.sigma_rel=\(\)",
    ),
    (
        f"{DIGITS} --mode=import --source=main.py --config.training.time_cells=8",
        "training.time_cells=8: .* a published file has none; set training.time_cells=0",
    ),
    (
        f"{DIGITS} --mode=import --source=main.py --config.training.lora.rank=4",
        "training.lora.rank=4: .* a published file has none; set training.lora.rank=0",
    ),
    (
        f"{DIGITS} --mode=train --config.training.accumulation=3",
        "training.batch_size=64 on 4 devices with training.accumulation=3: expected a multiple of 12",
    ),
    (
        f"{DIGITS} --mode=train --config.training.keep_best=1 --config.training.eval_freq=0",
        "training.keep_best=1 with eval_freq=0",
    ),
    (
        f"{DIGITS} --mode=import --source=main.py --config.checkpoint_step=5",
        "writes a checkpoint and reads none",
    ),
    (
        f"{DIGITS} --mode=replay --config.training.n_iters=5 --config.training.replay_step=6",
        "replay_step=6: the run ends with update 5",
    ),
    (
        f"{DIGITS} --mode=replay --config.checkpoint_step=500",
        "checkpoint_step=500: an update is replayed from the checkpoint before it; .* training.replay_step, 501 for",
    ),
    (f"{DIGITS} --mode=sample --config.model.discrete_labels=x", "discrete_labels='x' is unknown"),
    (f"{TOY} --mode=sample --config.sampling.num_images=0", "num_images=0: expected a positive"),
    (
        f"{TOY} --mode=sample --config.sampling.eps=2",
        "sampling.eps=2.0: expected a time between 0 and T",
    ),
    (f"{TOY} --mode=sample --config.sampling.batch_size=6", "sampling.batch_size=6 on 4 devices"),
    (f"{TOY} --mode=likelihood --config.likelihood.batch_size=6", "likelihood.batch_size=6 on 4"),
    (f"{TOY} --mode=likelihood --config.likelihood.split=dev", "choose one of test, train"),
    (f"{TOY} --mode=likelihood --config.likelihood.probe=x", "choose one of rademacher, gaussian"),
    (
        f"{TOY} --mode=sample --config.model.beta_min=-1",
        "beta_min=-1.0: expected a positive number",
    ),
    (
        f"{DIGITS} --mode=train --config.training.batch_size=66",
        "training.batch_size=66 on 4 devices: expected a positive multiple of 4",
    ),
    (f"{DIGITS} --mode=train --config.training.n_iters=-1", "n_iters=-1: expected a positive"),
    (f"{DIGITS} --mode=train --config.optim.lr=-1", "optim.lr=-1.0: expected a positive"),
    (f"{DIGITS} --mode=train --config.training.eps=-1", "training.eps=-1.0: expected a time"),
    (f"{DIGITS} --mode=train --config.model.name=unet", "unet.*ncsnpp"),
    (f"{DIGITS} --mode=train --config.model.ch_mult=(1,2,2,2,2)", "multiple of 16"),
    (f"{DIGITS} --mode=train --config.model.nf=30", "groups"),
    (f"{DIGITS} --mode=train --config.model.resblock_type=x", "resblock_type.*biggan"),
    (
        f"{DIGITS} --mode=train --config.sde.name=subvp --config.training.continuous=False",
        "no published",
    ),
    (f"{VE_DISCRETE} --mode=likelihood", "likelihood.ode=False leaves the chain's bound"),
    (
        f"{TOY} --mode=likelihood --config.likelihood.num_probes=0",
        "num_probes=0: expected a positive",
    ),
    (
        f"{TOY} --mode=likelihood --config.likelihood.bound_draws=7",
        "expected an even number, such as 64",
    ),
    (
        f"{TOY} --mode=likelihood --config.likelihood.bound_draws=0 --config.likelihood.ode=False",
        "leave nothing to measure",
    ),
    (f"{TOY} --mode=likelihood --config.likelihood.decoder=x", "choose one of none, gaussian"),
    (f"{TOY} --mode=likelihood --config.likelihood.step_size=x", "choose one of batch, image"),
    (f"{TOY} --mode=likelihood --config.likelihood.anomalies=none.npz", "no such file"),
    (
        f"{TOY} --mode=likelihood --config.likelihood.dequantization=variational",
        "real-valued data need no dequantization",
    ),
    (f"{DIGITS} --mode=likelihood --config.likelihood.dequantization=x", "choose one of uniform"),
    (
        f"{VE_DISCRETE} --mode=likelihood --config.likelihood.ode=False --config.likelihood.bound_draws=2",
        "two of them for the decoder",
    ),
    (
        f"{DIGITS} --mode=likelihood --config.training.continuous=False --config.likelihood.ode=False --config.likelihood.decoder=gaussian",
        "has its own decoder",
    ),
    (f"{DIGITS} --mode=train --config.training.weighting=x", "choose one of noise, x0, velocity"),
    (f"{DIGITS} --mode=train --config.training.times=x", "choose one of uniform, log_snr"),
    (f"{DIGITS} --mode=train --config.training.draws=x", "choose one of independent, stratified"),
    (f"{DIGITS} --mode=train --config.model.predicts=x", "choose one of process, noise, score"),
    (
        f"{DIGITS} --mode=train --config.training.min_snr=0 --config.training.weighting=min_snr",
        "min_snr=0.0: expected a positive",
    ),
    (
        f"{DIGITS} --mode=classify --config.classifier.workdirs=runs",
        "expected folders with {label}",
    ),
    (
        f"{DIGITS} --mode=classify --config.classifier.workdirs=/nowhere/{{label}}",
        "no model of class 0",
    ),
    (
        f"{DIGITS} --mode=classify --config.data.label=3",
        "classification needs images of all classes",
    ),
    (f"{TOY} --mode=classify", "needs trained networks"),
    (f"{VE_DISCRETE} --mode=sample --sampler=ode", "is defined only at its own noise levels"),
    (f"{DIGITS} --mode=sample", "no checkpoint in .* train first"),
    (f"{DIGITS} --mode=train --config.data.name=nothing_such", "'nothing_such' is not known"),
    (
        f"{DIGITS} --mode=train --config.data.num_levels=256",
        "17 grey levels, but data.num_levels=256",
    ),
    (f"{DIGITS} --mode=train --config.data.image_size=4", r"images of shape \(8, 8, 1\)"),
    (
        f"{DIGITS} --mode=train --config.data.image_size=8x12",
        "--config.data.image_size=8x12: expected an integer",
    ),
    (
        f"{DIGITS} --mode=data --config.data.image_width=8",
        r"image_width=8: expected a width in pixels that differs from the height, data.image_size=8, or 0",
    ),
    (f"{DIGITS} --mode=data --config.data.image_width=12", r"images of shape \(8, 8, 1\)"),
    (
        f"{DIGITS} --mode=train --config.data.image_width=10 --config.model.ch_mult=1,1,1",
        r"images have 8x10 pixels, .* multiple of 4",
    ),
    (f"{DIGITS} --mode=data --config.data.name=arrays", "needs data.file: give the .npz or .npy"),
    (
        f"{DIGITS} --mode=train --config.data.image_size=16",
        r"attn_resolutions=\(4,\): the levels of images of 16x16 pixels have 16, 8",
    ),
    (f"{TOY} --mode=dequantize", "learns the noise between integer levels"),
    (f"{DIGITS} --mode=dequantize", "no checkpoint in .* train first"),
    (f"{DIGITS} --mode=dequantize --config.dequantizer.depth=1", "depth=1: expected 2 or more"),
    (f"{DIGITS} --mode=dequantize --config.dequantizer.batch_size=6", "batch_size=6 on 4 devices"),
    (f"{DIGITS} --mode=dequantize --config.data.num_levels=70000", "expected 2 to 65536"),
    (f"{VE_DISCRETE} --mode=dequantize", "is defined only at its own noise levels"),
    (
        f"{DIGITS} --mode=evaluate --config.evaluation.images=test --sampler=ode",
        "--sampler=ode with evaluation.images='test', which is measured as it is",
    ),
    (
        f"{DIGITS} --mode=evaluate --config.evaluation.images=test --config.checkpoint_step=7",
        "--config.checkpoint_step with evaluation.images='test'",
    ),
    (
        f"{DIGITS} --mode=evaluate --config.sampling.path_images=2",
        "--config.sampling.path_images goes with --mode sample",
    ),
    (
        f"{DIGITS} --mode=interpolate --config.sampling.path_images=3",
        "--mode interpolate writes its frames as arrays and a picture: leave it out",
    ),
    (
        f"{DIGITS} --mode=tradeoff --config.sampling.save=png",
        "--config.sampling.save goes with --mode sample",
    ),
    (f"{CIFAR} --mode=import", "--mode import needs --source=FILE"),
    (f"{CIFAR} --mode=sample --source=x.pth", "--source=x.pth goes with --mode import only"),
    (f"{CIFAR} --mode=import --source=none.pth", "cannot read none.pth: No such file"),
    (f"{CIFAR} --mode=import --source=README.md", "neither a PyTorch nor a Flax checkpoint"),
    (f"{TOY} --mode=import --source=x.pth", "model.name=mixture has no published format"),
    (f"{TOY} --mode=export", "model.name=mixture has no published format"),
    (f"{DIGITS} --mode=export", "no checkpoint in .* train first"),
]


def run(arguments, workdir):
    main.run(["main.py", *arguments.split(), f"--workdir={workdir}"])


@pytest.fixture(autouse=True)
def in_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize(("arguments", "words"), MISTAKES, ids=[a for a, _ in MISTAKES])
def test_mistakes_are_answered_in_words(arguments, words, tmp_path):
    workdir = tmp_path / "run"
    with pytest.raises(UserError, match=words) as error:
        run(arguments, workdir)
    assert len(str(error.value).splitlines()) <= 2
    assert "Traceback" not in str(error.value)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


@pytest.mark.parametrize("name", ["results.jsonl", "config.json"])
def test_a_folder_where_nothing_can_be_recorded_is_refused(tmp_path, name):
    """Refused before samples are drawn that could not be recorded."""
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=f"has a {name} that is not a file"), prepared(tmp_path):
        pytest.fail("went on")


def test_status_and_no_traceback(tmp_path):
    """The same in a separate process, with a folder that cannot be created because a file is in its place."""
    (tmp_path / "file").touch()
    command = [sys.executable, "main.py", TOY, "--mode=sample", f"--workdir={tmp_path / 'file'}"]
    result = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "JAX_PLATFORMS": "cpu"}
    )
    assert result.returncode == 2
    assert re.fullmatch(
        r"main.py: --workdir=\S+ cannot be written to \(.*\); give another folder\n", result.stderr
    )
    assert result.stdout == ""


class Careless(nn.Module):
    """A user's network with a mistake in its code; odd widths it refuses."""

    nf: int

    @classmethod
    def from_config(cls, config):
        if config.model.nf % 2:
            raise ConfigError(f"model.nf={config.model.nf}: expected an even number")
        return cls(config.model.nf)

    @nn.compact
    def __call__(self, x, condition, dropout_keys=None):
        _, _height, _width = x.shape  # four there are
        return x


def test_mistakes_in_code_keep_their_traceback(tmp_path, monkeypatch, capsys):
    """For a network written by a user the traceback shows where it fails; an invalid value is reported in one line."""
    monkeypatch.setitem(NETWORKS, "careless", Careless)
    command = ["main.py", DIGITS, "--mode=train", f"--workdir={tmp_path}"]
    monkeypatch.setattr(sys, "argv", [*command, "--config.model.name=careless"])
    with pytest.raises(ValueError, match="too many values to unpack") as error:
        main.main()
    assert not isinstance(error.value, UserError)
    assert any(entry.name == "__call__" for entry in error.traceback)
    sys.argv.append("--config.model.nf=7")
    assert main.main() == 2
    assert capsys.readouterr().err == "main.py: model.nf=7: expected an even number\n"


def test_help_needs_no_jax():
    """It takes well under a second because nothing heavy is imported; test_help.py tests each mode's."""
    code = (
        "import sys; sys.argv = ['main.py', '--help']; import main; status = main.main(); "
        "sys.exit(status or ('jax' in sys.modules) or ('tensorflow_datasets' in sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    for word in (
        "--config",
        "--mode",
        "--sampler",
        "--workdir",
        "likelihood",
        "--helpfull",
    ):
        assert word in result.stdout


def test_overrides_and_default_folder():
    arguments = ["main.py", f"{CIFAR}:ddpmpp_deep", "--mode=sample", "--sampler=ode"]
    options = parse([*arguments, "--config.training.batch_size=64", "--config.optim.lr=1"], "")
    assert options.workdir == Path("runs/vp_cifar-ddpmpp_deep")
    assert options.config.sampling.sampler == "ode"
    assert options.config.training.batch_size == 64
    assert options.config.optim.lr == 1.0
    assert options.config.model.num_res_blocks == 8


@pytest.mark.parametrize(
    ("arguments", "unread"),
    [
        ("--sampler=ddim --config.sampling.ode.num_steps=5", "sampling.ode.num_steps"),
        ("--config.sampling.sampler=ode --config.sampling.edm.s_churn=5", "sampling.edm.s_churn"),
        ("--sampler=ddim --config.sampling.exponential.num_steps=5", ""),
        ("--sampler=pc_published --config.sampling.pc.num_steps=5", ""),
        ("--sampler=edm --config.sampling.grid.rho=5 --config.sampling.num_images=5", ""),
    ],
)
def test_fields_of_another_sampler_are_named(arguments, unread):
    def note(mode):
        return parse(["main.py", DIGITS, f"--mode={mode}", *arguments.split()], "").note

    assert (f" ignores {unread}: it reads " in note("sample")) if unread else not note("sample")
    assert not note("train")  # whose pictures and figures are drawn by others too


def test_fields_of_samples_that_are_not_drawn_are_named(tmp_path):
    """But a configuration may have any of them, and classes of given images are chosen by sampling.labels."""
    (tmp_path / "own.py").write_text(
        "from score_sde.configs.vp_digits import get_config as digits_config\n\n"
        "def get_config():\n"
        "    config = digits_config()\n"
        "    config.update(checkpoint_step=7, adapters='runs/a')\n"
        "    config.sampling.update(sampler='ode', save='png')\n"
        "    config.evaluation.images = 'test'\n"
        "    return config\n"
    )
    own = ["main.py", f"--config={tmp_path}/own.py", "--mode=evaluate"]
    assert not parse([*own, "--config.sampling.labels=3,5", "--config.seed=1"], "").note
    fields = ["--config.sampling.num_images=50", "--config.sampling.edm.s_churn=5"]
    note = parse([*own, *fields], "").note
    assert note.endswith("without sampling.num_images, sampling.edm.s_churn")
    drawn = parse([*own, "--config.evaluation.images=", fields[0], "--sampler=pc"], "")
    assert not drawn.note


IDLE = [
    ("sample", "--sampler=ode --config.sampling.grid.name=rho", "sampling.grid.name"),
    ("sample", "--sampler=ode --config.sampling.ode.steps=grid --config.sampling.ode.rtol=1e-7", "sampling.ode.rtol"),
    ("sample", "--sampler=ode --config.sampling.ode.rtol=1e-7", ""),
    ("sample", "--sampler=unipc_3 --config.sampling.exponential.atol=1", "sampling.exponential.atol"),
    ("sample", "--config.sampling.snr=.5", "sampling.snr"),
    ("sample", "--config.sampling.snr=.5 --config.sampling.pc.corrector=ald", ""),
    ("sample", "--sampler=ode --config.sampling.snr=.5", "sampling.snr"),
    ("sample", "--sampler=ddim --config.sampling.n_steps_each=3", "sampling.n_steps_each"),
    ("interpolate", "--config.sampling.n_steps_each=3", "sampling.n_steps_each"),
    ("restore", "--sampler=unipc_3 --config.restore.method=pigdm --config.sampling.snr=.5", "sampling.snr"),
    ("restore", "--config.restore.method=imputation --config.sampling.snr=.5", ""),
    ("interpolate", "--config.sampling.edm.s_churn=5", "sampling.edm.s_churn"),
    ("interpolate", "--config.sampling.ode.rtol=1e-7", ""),
    ("restore", "--config.sampling.exponential.num_steps=20", "sampling.exponential.num_steps"),
    ("restore", "--sampler=unipc_3 --config.restore.method=pigdm --config.sampling.exponential.num_steps=20", ""),
    ("restore", "--sampler=unipc_3 --config.restore.method=ddrm --config.sampling.exponential.num_steps=20", "sampling.exponential.num_steps"),
    ("restore", "--config.restore.method=ddrm --config.sampling.pc.num_steps=20", ""),
    ("tradeoff", "--config.sampling.sampler=ode --config.sampling.eps=1e-4", "sampling.sampler"),
    ("tradeoff", "--config.sampling.exponential.num_steps=20", "sampling.exponential.num_steps"),
    ("tradeoff", "--config.sampling.ode.rtol=1e-7", "sampling.ode.rtol"),
    ("tradeoff", "--config.sampling.grid.times=1,.1", ""),
    ("tradeoff", "--config.sampling.edm.s_noise=1.1", ""),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "arguments", "unread"), IDLE)
def test_fields_without_effect_are_named(mode, arguments, unread):
    """Those given on the command line alone: a configuration file has values for several samplers and modes."""
    note = parse(["main.py", DIGITS, f"--mode={mode}", *arguments.split()], "").note
    assert re.findall(r"(?:ignores|nothing reads) (sampling\.[^ ,:]+)", note) == [unread] * bool(
        unread
    )
    assert note.startswith("note: ") == bool(unread)


@pytest.mark.parametrize("sampler", ["ode", "edm", "ddim"])
def test_a_corrector_in_the_configuration_is_no_reader_of_other_samplers(sampler):
    config = digits_config()
    config.sampling.pc.corrector = "ald"
    assert not unread_fields("sample", ["sampling.snr"], config)
    config.sampling.sampler = sampler
    note = unread_fields("sample", ["sampling.snr"], config)
    assert note == f"note: with sampling.sampler={sampler} nothing reads sampling.snr"


def test_a_folder_under_home(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    options = parse(["main.py", DIGITS, "--mode=train", "--workdir=~/runs"], "")
    assert options.workdir == Path("/somewhere/runs")


def test_config_name():
    assert config_name("configs/vp_cifar.py:ddpmpp_deep") == "vp_cifar-ddpmpp_deep"
    assert config_name("/elsewhere/mine.py") == "mine"

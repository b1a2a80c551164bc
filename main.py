"""Score-based generative models through SDEs: train, sample, interpolate, restore, measure likelihoods.

  python main.py --config configs/vp_digits.py --mode data
  python main.py --config configs/vp_digits.py --mode train
  python main.py --config configs/vp_digits.py --mode sample --sampler ode
  python main.py --config configs/vp_digits.py --mode evaluate
  python main.py --config configs/vp_digits.py --mode tradeoff --config.sampling.num_images=1000
  python main.py --config configs/vp_digits.py --mode likelihood
  python main.py --config configs/vp_digits.py --mode dequantize
  python main.py --config configs/vp_digits.py --mode likelihood --config.likelihood.dequantization=variational
  python main.py --config configs/vp_digits.py --mode interpolate
  python main.py --config configs/vp_digits.py --mode restore --config.restore.measurement.name=box
  python main.py --config configs/vp_cifar.py:ddpmpp_deep --mode train --config.training.batch_size=64
  python main.py --config configs/ve_cifar.py --mode import --source checkpoint_24.pth
  python main.py --config configs/ve_cifar.py --mode export
  python main.py --config configs/vp_digits.py --workdir runs/soup --mode merge --config.merge.folders=runs/a,runs/b
  python main.py --config configs/vp_digits.py --mode replay --config.training.replay_step=100
  python main.py --workdir runs/vp_digits --mode report
  python main.py --mode list

--mode list lists the runs in runs/, or in --workdir. --json prints one JSON object with the results to stdout, and everything else to
stderr. --flagfile=FILE reads flags from a file, one per line. --config takes a file, with a variant after a colon if the file has
variants; for a trained folder it can be left out, as in --workdir runs/x --mode sample. Every field can be set as
--config.section.field=value; python -m score_sde.configs.default lists all fields with their meanings. Results go to --workdir, by
default runs/<config name>: data/, checkpoints/, samples/, interpolation/, restored/, dequantizer/, evaluation/, tradeoff/, likelihood/,
classification/, export/, replay/, metrics.jsonl, results.jsonl and report.html. Mode data shows the images as the network will see them,
before any training. Import converts a checkpoint of the published implementation, PyTorch or JAX, of the same network as the config;
export writes a checkpoint in the format of the published PyTorch code. Merge makes a folder with the mean of the weights of others.
"""

from __future__ import annotations

import gc
import os
import signal
import sys

if __name__ == "__main__":
    # Imports create no garbage, and collecting would take a tenth of the time until a mode starts.
    gc.disable()

# A failed runtime assertion of diffrax (that times increase) makes the result NaN, which is refused, instead of raising: JAX does not
# cache compiled programs with Python callbacks, and those of the ODE take longest to compile. Equinox reads this when it is imported.
os.environ.setdefault("EQX_ON_ERROR", "nan")

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Ctrl-C ends the process as SIGTERM does: at once, even during compilation, and without a traceback. Files are complete at any
    # moment (score_sde/files.py), and training/interrupts.py takes over as soon as there are updates to save.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import importlib  # noqa: E402
from logging import CRITICAL, getLogger  # noqa: E402
from typing import Any  # noqa: E402

from absl import logging  # noqa: E402

from score_sde.command_line import Options, parse, prepared  # noqa: E402
from score_sde.compilation_cache import keep_programs  # noqa: E402
from score_sde.cpu_devices import split_cpu  # noqa: E402
from score_sde.errors import UserError  # noqa: E402
from score_sde.flag_table import MODES, QUICK  # noqa: E402
from score_sde.hosts import check_devices, end_alone, join  # noqa: E402
from score_sde.json_output import only_json  # noqa: E402
from score_sde.machine import refusal  # noqa: E402
from score_sde.output import discard_output  # noqa: E402
from score_sde.quoting import printable  # noqa: E402


def run(argv: list[str]) -> dict[str, Any]:
    """Run the command line; return the figures of the mode, or {} for --help."""
    options = parse(argv, __doc__)
    if options is None:
        return {}
    if not options.json:
        return done(options)
    with only_json(mode=options.mode, workdir=str(options.workdir), config=options.config_file):
        return done(options)


def done(options: Options) -> dict[str, Any]:
    """Run the mode; return its figures."""
    module = f"score_sde.modes.{MODES[options.mode]}"
    if options.mode in QUICK:
        return importlib.import_module(module).run(options.workdir)
    # TFDS and the rest are imported only now, so that --help and mistyped flags are answered at once. Warnings of TFDS and Orbax are
    # harmless here, and what matters ends in an error of our own, so their output is suppressed.
    logging.set_verbosity(logging.FATAL)
    for name in ("asyncio", "concurrent.futures"):
        getLogger(name).setLevel(CRITICAL)

    if options.hosts is not None:
        join(options.hosts)
    split_cpu(options.cpu_devices)
    check_devices()
    keep_programs(options.compilation_cache)
    from score_sde.configs.default import check_options
    from score_sde.local_gpus import say_idle_gpus
    from score_sde.progress import say
    from score_sde.same_folder import check_same_folder
    from score_sde.sde_lib import build_sde
    from score_sde.unfinished import all_hosts_meet

    check_options(options.config)
    mode = importlib.import_module(module)
    sde = build_sde(options.config)
    built = mode.check(options.config, sde) or ()
    if options.note:
        say(options.note)
    only_import = {} if options.source is None else {"source": options.source}
    with prepared(options.workdir):
        check_same_folder(options.workdir)
        say_idle_gpus(os.environ)
        if not gc.isenabled():
            gc.freeze()  # objects created by imports are never scanned again
            gc.enable()
        figures = mode.run(options.config, sde, options.workdir, *built, **only_import)
        # The first host may still be writing, and JAX aborts all when one has waited for it at its end for five minutes. This
        # meeting has no limit on GPUs and TPUs, and half an hour on CPUs.
        all_hosts_meet("the end")
        return figures


def say_unraisable(found: Any) -> None:
    """Report unraisable exceptions as Python does, except those of parts of a failed save whose event loop is closed.

    On a full disk TensorStore leaves hundreds of such parts; the failure of the save itself is reported in one line.
    """
    if not (found.exc_type is RuntimeError and str(found.exc_value) == "Event loop is closed"):
        sys.__unraisablehook__(found)


def main() -> int:
    """Run main.py; return the exit status: 0; 2 for a user's mistake or a full disk; 128 + n after signal n."""
    try:
        stopped_by = run(sys.argv).get("stopped_by")
        sys.stdout.flush()
    except UserError as error:
        return refused(error)
    except BrokenPipeError:  # the reader of stdout has exited, as in `| head -1`
        discard_output()
        return end_alone(128 + signal.SIGPIPE)
    except Exception as error:
        if (found := refusal(error)) is None:
            end_alone(1)
            raise
        return refused(found)
    return 128 + signal.Signals[stopped_by] if stopped_by else 0


def refused(error: UserError) -> int:
    """Print the error, and return the exit status for a user's mistake."""
    try:
        print(printable(f"main.py: {error}"), file=sys.stderr)
    except OSError:
        discard_output()
    return end_alone(2)


if __name__ == "__main__":
    # The name of a folder need not be valid in any encoding.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.unraisablehook = say_unraisable
    sys.exit(main())

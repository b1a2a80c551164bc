"""Score-based generative models through SDEs: train, sample, interpolate, measure likelihoods.

  python main.py --config configs/vp_digits.py --mode train
  python main.py --config configs/vp_digits.py --mode sample --sampler ode
  python main.py --config configs/vp_digits.py --mode likelihood
  python main.py --config configs/vp_digits.py --mode dequantize
  python main.py --config configs/vp_digits.py --mode likelihood --config.likelihood.dequantization=variational
  python main.py --config configs/vp_digits.py --mode interpolate
  python main.py --config configs/vp_cifar.py:ddpmpp_deep --mode train --config.training.batch_size=64
  python main.py --config configs/ve_cifar.py --mode import --source checkpoint_24.pth
  python main.py --config configs/ve_cifar.py --mode export

--config takes a file, with a variant after a colon where the file has some. Every field of it can be set
as --config.section.field=value; python -m score_sde.configs.default lists them, with what each means. Results go to --workdir, by
default runs/<config name>: checkpoints/, samples/, interpolation/, dequantizer/, likelihood/, classification/, export/, metrics.jsonl and results.jsonl.
Import makes a checkpoint here of a file of the published implementation, PyTorch or JAX, whose network must be
the config's; export writes a checkpoint as the published PyTorch code does.
"""

from __future__ import annotations

import importlib
import sys

from absl import logging

from score_sde.command_line import MODES, parse, prepare_workdir
from score_sde.errors import UserError


def run(argv: list[str]) -> None:
    options = parse(argv, __doc__)
    if options is None:
        return
    # JAX and the rest are imported only now: --help and a mistyped flag are answered at once.
    import jax

    # TFDS and Orbax warn of what is no trouble here; what is, ends in a UserError.
    logging.set_verbosity(logging.ERROR)

    if options.multi_host:
        jax.distributed.initialize()
    from score_sde.sde_lib import build_sde

    mode = importlib.import_module(f"score_sde.modes.{MODES[options.mode]}")
    sde = build_sde(options.config)
    built = mode.check(options.config, sde) or ()
    prepare_workdir(options.workdir)
    only_import = {} if options.source is None else {"source": options.source}
    mode.run(options.config, sde, options.workdir, *built, **only_import)


def main() -> int:
    try:
        run(sys.argv)
    except UserError as error:
        print(f"main.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Score-based generative models through SDEs: train, sample, measure likelihoods.

  python main.py --config configs/vp_digits.py --mode train
  python main.py --config configs/vp_digits.py --mode sample --sampler ode
  python main.py --config configs/vp_digits.py --mode likelihood
  python main.py --config configs/vp_cifar.py:ddpmpp_deep --mode train --config.training.batch_size=64

--config takes a file, with a variant after a colon where the file has some. Every field of it can be set
as --config.section.field=value; configs/default.py says what each means. Results go to --workdir, by
default runs/<config name>: checkpoints/, samples/, likelihood/, metrics.jsonl and results.jsonl.
"""

from __future__ import annotations

import sys

from absl import logging

from command_line import parse, prepare_workdir
from errors import UserError


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
    from modes import checks, likelihood, sample, train

    mode = {"train": train, "sample": sample, "likelihood": likelihood}[options.mode]
    checks.check(options.config, options.mode)
    prepare_workdir(options.workdir)
    mode.run(options.config, options.workdir)


def main() -> int:
    try:
        run(sys.argv)
    except UserError as error:
        print(f"main.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Download and prepare a dataset, without training on it.

    python -m score_sde.data.prepare NAME [--data_dir DIR]

`load` does the same the first time a dataset is used. This command is for a machine with network access when the training
machine has none, and for an environment with TensorFlow when TFDS needs it.
"""

from __future__ import annotations

import argparse
import sys

from score_sde.data.builders import DatasetError, prepared_builder
from score_sde.data.loader import LOADERS


def main(arguments: list[str] | None = None) -> int:
    """Download and prepare one TFDS dataset; return 0 if it is ready, 1 on an error."""
    parser = argparse.ArgumentParser(
        prog="python -m score_sde.data.prepare", description=__doc__.split("\n")[0]
    )
    parser.add_argument("name", help="a dataset's name, as in config.data.name")
    parser.add_argument("--data_dir", help="default: ~/tensorflow_datasets")
    parsed = parser.parse_args(arguments)
    if parsed.name in LOADERS:
        print(f"{parsed.name}: there is nothing to prepare")
        return 0
    try:
        builder = prepared_builder(parsed.name, parsed.data_dir)
    except DatasetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    sizes = ", ".join(f"{split} {info.num_examples}" for split, info in builder.info.splits.items())
    print(f"{parsed.name}: {sizes}, in {builder.data_dir}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

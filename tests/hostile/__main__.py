"""python -m tests.hostile [--command_lines N] [--files N] [--first SEED]: list and count badly handled inputs."""

import argparse
import collections
import faulthandler
import sys
import tempfile
import time
from pathlib import Path

from tests.hostile.attack import Files, refused_badly
from tests.hostile.command_lines import command_line


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.hostile")
    parser.add_argument("--command_lines", type=int, default=500)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="seed; the others follow")
    options = parser.parse_args()
    found, slowest = collections.Counter(), (0.0, "")
    with tempfile.TemporaryDirectory() as folder:

        def attack(what, answer):
            nonlocal slowest
            faulthandler.dump_traceback_later(300, exit=True)
            began = time.perf_counter()
            wrong = answer()
            slowest = max(slowest, (time.perf_counter() - began, what))
            if wrong:
                found[wrong.strip().splitlines()[-1][:200]] += 1
                print(f"== {what}\n{wrong}", flush=True)

        for seed in range(options.first, options.first + options.command_lines):
            line = command_line(seed, Path(folder) / "run")
            attack(f"{seed} {[word[:200] for word in line]}", lambda line=line: refused_badly(line))
        files = Files(Path(folder) / "files")
        for seed in range(options.first, options.first + options.files):
            attack(f"file {seed}", lambda seed=seed: files.read_badly(seed))
        faulthandler.cancel_dump_traceback_later()
    print(
        f"{options.command_lines} command lines, {options.files} files; {found.total()} answered badly"
    )
    print("slowest: {:.1f} s {}".format(*slowest))
    for words, count in found.most_common():
        print(f"{count:4d}  {words}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

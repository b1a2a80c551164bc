"""Commands and code in the documents, extracted as printed."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    *sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]),
    ROOT / "main.py",
    *sorted([*ROOT.glob("configs/*.py"), *ROOT.glob("examples/**/*.py")]),
]
MAIN = "python main.py "
MODULE = "python -m "
INLINE = re.compile(r"`([^`\n]+)`")
HEADING = "| command, after"  # of a table, whose rows go on from it
LOOP = re.compile(r"^for (\w+) in ([^;]+)")
ASSIGNED = re.compile(r'^(\w+)="([^"]*)"$')
SUBSTITUTED = re.compile(r'"\$\(([^()]*)\)"')  # as in eval "$(python main.py --completion bash)"
PLACEHOLDERS = {"CONFIG", "FILE.json", "..."}


class Command(NamedTuple):
    """A command as a document has it, and the arguments that it gives."""

    document: str
    text: str
    arguments: tuple[str, ...]


def commands(prefix: str) -> list[Command]:
    """All that begin with this, and name what they use, in their order; of those that a document repeats the first."""
    found = dict.fromkeys(
        Command(path.relative_to(ROOT).as_posix(), text, tuple(arguments(text, prefix)))
        for path in DOCUMENTS
        for text in printed(path, prefix)
    )
    return [one for one in found if not PLACEHOLDERS & set(one.arguments)]


def printed(path: Path, prefix: str) -> Iterator[str]:
    """The commands' own text, variables of the shell replaced by each of their values."""
    variables: dict[str, list[str]] = {}
    for line in joined(unbroken(path.read_text())):
        if line.startswith(HEADING) or (path.suffix == ".py" and not line.startswith(prefix)):
            continue
        if loop := LOOP.match(line):
            variables[loop[1]] = loop[2].split()
        elif assigned := ASSIGNED.match(line):
            variables[assigned[1]] = [assigned[2]]
            continue
        line = SUBSTITUTED.sub(r"\1", line)
        for text in with_values([line, *quoted(line, path)], variables):
            if prefix in text:
                # In a sentence the code ends with its quote.
                command = prefix + text.partition(prefix)[2].partition("`")[0]
                # Within the quotes of another command, the last is not its own.
                yield command.strip()[: -1 if command.count('"') % 2 else None]


def with_values(texts: list[str], variables: dict[str, list[str]]) -> list[str]:
    """Each text, with each value in place of a variable that it has."""
    for name, values in variables.items():
        texts = [
            text.replace(f"${name}", value)
            for text in texts
            for value in (values if f"${name}" in text else [""])
        ]
    return texts


def unbroken(text: str) -> str:
    """With code of sentences that goes on in the next line in one line."""
    parts = text.split("```")
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"`[^`]+`", lambda code: code[0].replace("\n", " "), parts[i])
    return "```".join(parts)


def quoted(line: str, path: Path) -> list[str]:
    """In tables `--config configs/x.py --mode train` stands for the whole command."""
    if path.suffix != ".md":
        return []
    code = [text for text in INLINE.findall(line) if text.startswith("--config configs/")]
    return [MAIN + text for text in code if " --mode" in text]


def joined(text: str) -> Iterator[str]:
    """Lines, those that end with a backslash together with the next."""
    waiting = ""
    for line in text.splitlines():
        if line.rstrip().endswith("\\"):
            waiting += line.strip()[:-1] + " "
            continue
        yield (waiting + line.strip()).strip()
        waiting = ""


def arguments(text: str, prefix: str) -> list[str]:
    """What follows the prefix, split as a shell does, up to a comment or the next command."""
    found = shlex.shlex(text.removeprefix(prefix), posix=True, punctuation_chars=";|&>")
    found.whitespace_split, found.commenters = True, "#"
    return list(itertools.takewhile(lambda token: not set(token) <= set(";|&>"), found))


def code_blocks(path: Path, language: str) -> list[str]:
    """Fenced code of one language."""
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(), re.DOTALL)

"""The commands of each document run in sequence, as a reader would give them, with few updates and images."""

import faulthandler
import re

import pytest

from tests.documented_commands import MAIN, MODULE, commands
from tests.documented_runs import NOT_RUN, Reader, copied_checkout, reason, trainers

ALL = [*commands(MAIN), *commands(MODULE)]
RUN = [command for command in ALL if reason(command) is None]
# What the changelog names, the other documents tell the reader to do.
DOCUMENTS = sorted({command.document for command in RUN} - {"CHANGELOG.md"})


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    return tmp_path_factory.mktemp("programs")


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_commands_of_a_document_run(document, programs, tmp_path):
    faulthandler.cancel_dump_traceback_later()  # some are of a hundred commands, of which each has its own limit
    reader = Reader(copied_checkout(tmp_path / "checkout"), programs, trainers(document))
    refused = [reader.refused(command) for command in RUN if command.document == document]
    errors = [error for error in refused if error is not None]
    assert not errors, "\n\n".join(errors)


def test_most_commands_are_run():
    """In case a rule excludes too many commands: at most a fifth of them."""
    assert len(RUN) > 4 * (len(ALL) - len(RUN))


def test_each_reason_is_somebodys():
    for found, why in NOT_RUN:
        assert any(re.search(found, command.text) for command in ALL), why


def test_what_is_not_run_needs_something():
    """Reasons are a missing file, machine or time, and only these."""
    not_run = [command.text for command in ALL if reason(command) is not None]
    assert not [text for text in not_run if "digits" in text or "toy_mixture" in text]

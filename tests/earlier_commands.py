"""Interrupted commands as if another version of the code had made their batches, in a thousand seconds each."""

import json


def as_of_version_0_9(folder):
    """Change what the folder's unfinished batches say of the command that made them."""
    files = [*folder.rglob("unfinished-*/commands.json")]
    assert files
    for file in files:
        commands = json.loads(file.read_text())
        file.write_text(json.dumps([{**c, "version": "0.9", "seconds": 1000.0} for c in commands]))


def check_of_both(figures):
    """The record has the seconds of both commands, and the version of the first."""
    assert 1000 < figures["seconds"] < 2000
    assert figures["batches_made_by"][0]["version"] == "0.9"

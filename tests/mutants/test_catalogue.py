"""That every mutant can still be made: the code moves on, and the catalogue with it."""

import ast
import collections
from pathlib import Path

import pytest

from tests.mutants.catalogue import MUTANTS

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_replaces_one_place_by_other_code(mutant):
    source = (REPOSITORY / mutant.file).read_text()
    assert source.count(mutant.before) == 1, "update `before` in tests/mutants"
    mutated = source.replace(mutant.before, mutant.after)
    # Other code, not another layout or comment.
    assert ast.dump(ast.parse(mutated)) != ast.dump(ast.parse(source))


def test_names_are_unique_and_tests_exist():
    counts = collections.Counter(mutant.name for mutant in MUTANTS)
    assert max(counts.values()) == 1, counts.most_common(1)
    assert len(MUTANTS) >= 40
    named = {test for mutant in MUTANTS for test in mutant.tests}
    for test in named:
        file, _, function = test.partition("::")
        assert f"def {function}" in (REPOSITORY / file).read_text(), test

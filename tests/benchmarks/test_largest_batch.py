"""The search for the largest batch that fits, with given needs of memory."""

import pytest

from benchmarks.tpu_compile.job import Job
from benchmarks.tpu_compile.largest import expected, largest, share
from tests.benchmarks.test_tpu_compile import MIB, rows


@pytest.mark.parametrize("fixed", [0, 30, 90])
@pytest.mark.parametrize("each", [0.01, 0.4, 3.0, 50.0, 200.0])
def test_the_largest_batch_fits_and_twice_as_many_images_do_not(fixed, each):
    asked = []

    def compiled(job):
        asked.append(job.per_chip)
        needed = fixed + each * job.per_chip
        return rows(int(needed * MIB)) if needed <= 100 else [{"does_not_fit": "no memory"}]

    found = largest(compiled, Job("c", "training", "v5e:2x4", 1))
    fits = [2**k for k in range(20) if fixed + each * 2**k <= 100]
    assert found == (max(fits) if fits else 0)
    if found:
        assert {found, 2 * found} <= {*asked}
    assert len(asked) <= 5


@pytest.mark.parametrize(("power", "factor"), [(1.3, 1.0), (0.3, 20.0), (3.0, 1e-9)])
def test_memory_that_bends_is_followed(power, factor):
    """The search works if the line through the first two points leads too far or not far enough."""

    def needed(images):
        return 0.001 * images + factor * images**power

    def compiled(job):
        fits = needed(job.per_chip) <= 100
        return rows(int(needed(job.per_chip) * MIB)) if fits else [{"does_not_fit": ""}]

    found = largest(compiled, Job("c", "training", "v5e:2x4", 1))
    assert needed(found) <= 100 < needed(2 * found)


def test_a_search_without_answers_has_none():
    assert largest(lambda job: None, Job("c", "training", "v5e:2x4", 1)) is None


def test_doublings_on_a_line():
    """.1 + .05 n, of which .2 are n = 2, .9 n = 16 and 1.7 n = 32; one more where nothing is seen to grow."""
    assert expected((0, 0.15), (1, 0.2)) == expected((1, 0.2), (2, 0.3)) == 4
    assert expected((0, 0.2), (1, 0.15)) == 2
    assert expected((0, 0.2), (1, 0.2 + 1e-9)) == 7


def test_memory_that_falls_at_first_is_followed_once_it_grows():
    """As for vp_cifar's update on a v5e, in fractions of a chip: .14, .134, .184, and .05 for each further 32 images."""
    asked = []

    def compiled(job):
        asked.append(job.per_chip)
        share = {16: 0.140, 32: 0.134}.get(job.per_chip, 0.084 + 0.05 * job.per_chip / 32)
        return rows(int(share * 100 * MIB)) if share <= 1 else [{"does_not_fit": "no memory"}]

    assert largest(compiled, Job("c", "training", "v5e:2x4", 16)) == 512
    assert asked == [16, 32, 64, 512, 1024]


def test_the_largest_of_several_programs_must_fit():
    assert share([*rows(50 * MIB), *rows(75 * MIB), *rows(25 * MIB)]) == 0.75

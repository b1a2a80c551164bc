"""Mistakes in figures of quality."""

from tests.mutants.mutant import mutants

ESTIMATES = "tests/quality/test_frechet_estimates.py"

# fmt: off
QUALITY = [
    *mutants("quality/frechet.py", "tests/quality/test_frechet.py",
        ("frechet-without-two", "- 2.0 * mixed", "- mixed"),
        ("frechet-of-eigenvalues", "np.sum(np.sqrt(np.maximum(products, 0.0)))", "np.sum(np.maximum(products, 0.0))"),
        ("frechet-means-not-squared", "np.sum(np.square(a.mean - b.mean))", "np.sum(np.abs(a.mean - b.mean))"),
        ("frechet-root-in-its-own-basis", "(vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T", "vectors * np.sqrt(np.maximum(values, 0.0))"),
    ),
    *mutants("quality/moments.py", ESTIMATES,
        ("parts-of-one-mean", "self.scatter + other.scatter + between", "self.scatter + other.scatter"),
        ("parts-weighted-alike", "apart * (other.count / count)", "apart * 0.5"),
        ("covariance-over-n", "self.scatter / (self.count - 1)", "self.scatter / self.count"),
    ),
    *mutants("quality/frechet.py", ESTIMATES,
        ("distance-without-means", "float(apart + np.trace", "float(np.trace"),
        ("influence-of-the-mean-only", "2.0 * centred @ (a.mean - b.mean) + np.einsum(\"nd,nd->n\", centred, moved)", "2.0 * centred @ (a.mean - b.mean)"),
        ("influence-backwards", "centred - centred @ transport(a, b)", "centred - centred @ transport(b, a)"),
        ("error-of-one-set", "for given in ((x, a, b), (y, b, a))", "for given in ((x, a, b),)"),
        ("limit-of-one-set", "for rows, other in ((x, b), (y, a))", "for rows, other in ((x, b),)"),
        ("limit-the-wrong-way", "whole.value - float(excess.mean())", "whole.value + float(excess.mean())"),
    ),
    *mutants("quality/kernel_distance.py", "tests/quality/test_kernel_distance.py",
        ("kernel-with-its-diagonal", "(kernel.sum() - np.trace(kernel)) / (len(kernel) * (len(kernel) - 1))", "kernel.mean()"),
        ("kernel-without-one-over-d", "x @ y.T / x.shape[1] + 1.0", "x @ y.T + 1.0"),
        ("spread-of-blocks-for-an-error", "np.std(values, ddof=1) / np.sqrt(count)", "np.std(values, ddof=1)"),
    ),
    *mutants("quality/inception_score.py", "tests/quality/test_inception_score.py",
        ("parts-of-one-class-law", "p.mean(axis=0)", "np.full(p.shape[1], 1 / p.shape[1])"),
        ("spread-of-parts-for-an-error", "np.std(scores, ddof=1) / np.sqrt(splits)", "np.std(scores, ddof=1)"),
    ),
    *mutants("quality/neighbours.py", "tests/quality/test_neighbours.py",
        ("precision-for-recall", "mean_of(in_balls > 0), mean_of(recalled)", "mean_of(recalled), mean_of(in_balls > 0)"),
        ("itself-a-neighbour", "apart[np.arange(len(apart)), np.arange(rows.start, rows.stop)] = np.inf", "pass"),
        ("balls-of-other-samples", "around_samples[rows, None]", "around_samples[: len(apart), None]"),
        ("covered-by-the-last-block", "covered |= within.any(axis=0)", "covered = within.any(axis=0)"),
        ("distance-of-cancelled-squares", "np.linalg.norm(np.asarray(x, np.float64) - y[row], axis=1)", "np.concatenate([apart.min(axis=1) for _, apart in blocks(x, y)]) ** 0.5"),
    ),
    *mutants("quality/sliced.py", "tests/quality/test_sliced.py",
        ("slices-unsorted", "np.sort(x @ u) - np.sort(y @ u)", "x @ u - y @ u"),
        ("slices-without-three", "scale = 3.0 * x.shape[1]", "scale = 1.0 * x.shape[1]"),
    ),
]

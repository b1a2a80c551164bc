"""Mistakes in distances, in the exact flow, and in what the benchmarks measure."""

from tests.mutants.mutant import mutants

FLOW = "tests/evaluation/test_known_flow.py"
ERRORS = "tests/benchmarks/test_error_versus_nfe.py"
OVERHEAD = "tests/benchmarks/test_sampler_overhead.py"
ACCELERATOR = "tests/benchmarks/test_accelerator.py"

# fmt: off
BENCHMARKS = [
    *mutants("evaluation/known_law.py", FLOW,
        ("marginal-of-the-data", "return weights, alpha * means, alpha**2 * variances + sigma**2", "return weights, alpha * means, variances + sigma**2"),
        ("marginal-means-not-shrunk", "return weights, alpha * means,", "return weights, means,"),
        ("marginal-of-sigma", "alpha**2 * variances + sigma**2", "alpha**2 * variances + sigma"),
        ("ks-of-true-samples-without-ln-2", "math.sqrt(math.pi / 2.0) * math.log(2.0)", "math.sqrt(math.pi / 2.0)"),
    ),
    *mutants("benchmarks/entries.py", ERRORS,
        ("budget-without-the-first-evaluation", "(budget - self.first) // self.evaluations", "budget // self.evaluations"),
        ("budget-of-steps", "(budget - self.first) // self.evaluations", "budget - self.first"),
    ),
    *mutants("benchmarks/entries.py", f"{ERRORS}::test_quick_report",
        ("entry-on-another-grid", '"grid.name": grid}', '"grid.name": "uniform"}'),
    ),
    *mutants("benchmarks/problems.py", f"{ERRORS}::test_quick_report",
        ("law-at-the-other-end", "marginal_mixture(self.sde, self.options.eps, *mixture", "marginal_mixture(self.sde, self.sde.T, *mixture"),
        ("largest-error-for-the-mean", "np.sqrt(np.mean(np.square(np.asarray(x, np.float64)", "np.sqrt(np.max(np.square(np.asarray(x, np.float64)"),
        ("flow-to-another-time", "for t in (self.sde.T, self.options.eps)", "for t in (self.sde.T, 10 * self.options.eps)"),
        ("flow-upside-down", "{\"flow\": rms(samples.x, self.exact)}", "{\"flow\": rms(samples.x, self.exact[::-1])}"),
    ),
    *mutants("benchmarks/records.py", f"{ERRORS}::test_best_within_a_budget",
        ("best-of-all-that-is-cheaper", "if r.nfe == nearest)", "if r)"),
        ("half-a-budget-will-do", "if budget / 2 < record.nfe", "if 0 < record.nfe"),
    ),
    *mutants("benchmarks/sampler_overhead.py", OVERHEAD,
        ("one-evaluation-more", "fori_loop(0, count, evaluate, x)", "fori_loop(0, count + 1, evaluate, x)"),
        ("evaluations-that-can-be-left-out", "return x + 1e-6 * model(x,", "return x + 0.0 * model(x,"),
    ),
    *mutants("benchmarks/sampler_overhead.py", f"{OVERHEAD}::test_a_run_on_a_small_network",
        ("microseconds-of-an-evaluation", "pairs[:, 1])) / steps", "pairs[:, 1])) / count"),
    ),
    *mutants("benchmarks/flops.py", ACCELERATOR,
        ("product-without-its-additions", "return 2 * _size(equation.outvars[0]) * math.prod(shape[axis]", "return _size(equation.outvars[0]) * math.prod(shape[axis]"),
        ("convolution-of-every-output-again", "* math.prod(kernel) // output_features", "* math.prod(kernel)"),
        ("scan-of-one-turn", "return times * sum(", "return sum("),
        ("loop-that-costs-nothing", 'case "while":', 'case "no such loop":'),
    ),
    *mutants("benchmarks/turns.py", ACCELERATOR,
        ("ratio-of-medians", "np.median(slow.seconds / fast.seconds)", "np.median(slow.seconds) / np.median(fast.seconds)"),
        ("ratio-upside-down", "slow.seconds / fast.seconds", "fast.seconds / slow.seconds"),
    ),
    *mutants("benchmarks/accelerator/profile.py", ACCELERATOR,
        ("kernels-of-the-host", 'and event["pid"] in gpus', ""),
        ("kernels-counted-twice", 'and event["args"]["name"].startswith("Stream")', ""),
    ),
]
# fmt: on

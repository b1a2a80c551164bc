"""Mistakes in multistep exponential integrators."""

from tests.mutants.mutant import mutants

TESTS = "tests/samplers/test_multistep.py"

# fmt: off
MULTISTEP = [
    *mutants("samplers/exponential/multistep.py", f"{TESTS}::test_no_product_is_rounded_to_fewer_bits_than_its_factors",
        ("predictions-in-tf32", "axes=1, precision=PRECISION)", "axes=1)"),
        ("quadrature-in-tf32", "masses, precision=PRECISION)", "masses)"),
    ),
    *mutants("samplers/exponential/multistep.py", f"{TESTS}::test_second_order_by_hand {TESTS}::test_published_systems",
        ("multistep-not-through-the-middle", "integral.basis(0.5 * (start + integral.end[None]))", "integral.basis(integral.end[None])"),
        ("multistep-rise-with-its-whole-weight", "(in_the_middle - at_start) * b", "2.0 * (in_the_middle - at_start) * b"),
    ),
    *mutants("samplers/exponential/multistep.py", f"{TESTS}::test_published_systems",
        ("multistep-bend-whole-in-3m", "bh2(integral) - 0.5 * bend", "bh2(integral) - 0.0 * bend"),
        ("multistep-bend-about-the-end", "jnp.square(points - integral.start)", "jnp.square(points - integral.end)"),
        ("multistep-line-whatever-the-points", "jnp.where(integral.made() <= 2, line[:, 0], exact(integral))", "line[:, 0]"),
        ("multistep-bh1-is-bh2", "h * integral.density(integral.end))", "jnp.sum(integral.masses()[1]))"),
    ),
    *mutants("samplers/exponential/multistep.py", f"{TESTS}::test_polynomials_in_rho_are_exact {TESTS}::test_published_systems",
        ("multistep-nodes-of-the-past-forgotten", "return History(self.nodes[:n], self.predictions[:n])", "return History(self.nodes[-n:], self.predictions[-n:])"),
        ("multistep-node-at-the-end-of-the-step", "memory.add(self.variable(start), new)", "memory.add(self.variable(end), new)"),
    ),
    *mutants("samplers/exponential/multistep.py", f"{TESTS}::test_constant_noise_is_exact",
        ("multistep-noise-with-the-density-of-the-end", "density=lambda at, end: -jnp.exp(-at)", "density=lambda at, end: -jnp.exp(-end)"),
        ("multistep-data-keep-x", "keep=lambda h: jnp.exp(-h)", "keep=lambda h: jnp.ones_like(h)"),
        ("multistep-start-near", "FAR = 1e20", "FAR = 10.0"),
    ),
    *mutants("samplers/exponential/multistep.py", f"{TESTS}::test_from_data_to_noise",
        ("multistep-downwards-only", "start = jnp.sign(h) * t0", "start = t0"),
    ),
    *mutants("samplers/exponential/deis.py", f"{TESTS}::test_polynomials_in_t_are_exact {TESTS}::test_error_after_40_steps",
        ("deis-time-of-half-the-log-snr", "self.sde.time_of_log_snr(2.0 * at)", "self.sde.time_of_log_snr(at)"),
        ("deis-order-one-less", "Multistep(NOISE, order + 1, Time(sde), exact)", "Multistep(NOISE, order, Time(sde), exact)"),
    ),
    *mutants("samplers/exponential/deis.py", f"{TESTS}::test_polynomials_in_rho_are_exact",
        ("deis-rho-of-twice-lambda", "return jnp.exp(-at)", "return jnp.exp(-2.0 * at)"),
    ),
    *mutants("samplers/exponential/unipc.py", f"{TESTS}::test_published_systems",
        ("unipc-corrector-left-out", "self.advance(corrected, start, end, latest)", "self.advance(x, start, end, latest)"),
        ("unipc-corrects-the-uncorrected", "Uncorrected(latest, corrected, start)", "Uncorrected(latest, x, start)"),
        ("unipc-corrector-with-a-point-less", "self.advance(memory.x, memory.start, start, history)", "self.advance(memory.x, memory.start, start, history.latest(self.points))"),
        ("unipc-predictor-with-a-point-more", "self.advance(corrected, start, end, latest)", "self.advance(corrected, start, end, history)"),
    ),
]
# fmt: on

"""Mistakes in what is measured of images: bits/dim and their errors, resuming, AUC, the classifier."""

from tests.mutants.mutant import mutants

BITS = "tests/likelihood/test_bits_per_dim.py"
PER_IMAGE = "tests/likelihood/test_per_image.py"
UNFINISHED = "tests/test_unfinished.py"
RECORD = "tests/modes/test_likelihood_record.py"

# fmt: off
MEASUREMENTS = [
    *mutants("likelihood/bits_per_dim.py", BITS,
        ("bits-are-nats", "bits = dimension * math.log(2)", "bits = dimension"),
        ("bits-minus-the-offset", "Measured(nats / bits + offset,", "Measured(nats / bits - offset,"),
        ("repeats-repeat-the-noise", "jax.random.fold_in(seed_key(seed), repeat)", "seed_key(seed)"),
        ("standard-error-of-n", "values.std(ddof=1)", "values.std(ddof=0)"),
        ("standard-error-is-the-spread", "float(values.std(ddof=1) / math.sqrt(len(values)))", "float(values.std(ddof=1))"),
        ("interval-of-the-normal-law", "stdtrit(max(n - 1, 1), 0.5 + CONFIDENCE / 2)", "stdtrit(max(n - 1, 1), CONFIDENCE)"),
        ("own-error-of-one-image", "np.sqrt(np.sum(squares)) / images)", "np.sqrt(np.sum(squares) / images))"),
        ("own-error-of-one-repeat", "self.bits_per_dim.var(axis=0, ddof=1) / repeats", "self.bits_per_dim.var(axis=0, ddof=1)"),
        ("gap-of-integers-and-densities", "self.bound is None or self.integers", "self.bound is None"),
    ),
    *mutants("score_sde/keys.py", BITS,
        ("images-share-dequantization", "jax.random.fold_in(key, index)", "jax.random.fold_in(key, 0)"),
    ),
    *mutants("likelihood/per_image.py", PER_IMAGE,
        ("noise-for-nothing-in-the-ode", "cost, x, more = log_q, x0, 0", "cost, x, more = 0.0 * log_q, x0, 0"),
        ("noise-for-nothing-in-the-bound", "bound.nats + log_q", "bound.nats"),
        ("decoder-of-a-clean-image", "x, more = noised(sde, x0, z, options.eps), 1", "x, more = x0, 1"),
        ("ode-without-the-decoder", "cost = cost + decoding_term(model, sde, x0, z, options.eps)", "cost = cost + 0.0 * decoding_term(model, sde, x0, z, options.eps)"),
        ("bound-without-the-decoder", "total.nats + last.nats", "total.nats"),
    ),
    *mutants("likelihood/bits_per_dim.py", PER_IMAGE,
        ("integers-with-an-offset", "0.0 if integer_costs(config) else offset", "offset"),
    ),
    *mutants("score_sde/unfinished.py", UNFINISHED,
        ("taken-up-by-any-measurement", "hashlib.sha256(text.encode())", "hashlib.sha256(b'')"),
        ("half-written-batches-taken", 'self.folder.glob("*.npz")', 'self.folder.glob("*")'),
    ),
    *mutants("likelihood/bits_per_dim.py", UNFINISHED,
        ("latents-of-the-first-repeat", "if repeat < options.repeats - 1:", "if repeat > 0:"),
    ),
    *mutants("modes/likelihood.py", RECORD,
        ("old-batches-for-new-weights", '"checkpoints": newest_file(checkpoint_folder(workdir))', '"checkpoints": 0.0'),
        ("old-batches-for-new-images", "[datasets.fingerprint, hash_of_some(split)]", "[datasets.fingerprint]"),
        ("old-batches-for-new-adapters", '"adapter_files": ages_of_adapters(config)', '"adapter_files": []'),
        ("anomalies-cut-with-the-split", "everything.likelihood.num_images = 0", "everything.likelihood.num_images += 0"),
        ("truth-at-eps-of-a-decoded-cost", "measured.ode is not None and not decodes(config)", "measured.ode is not None"),
    ),
    *mutants("likelihood/figures.py", RECORD,
        ("solver-of-a-bound", 'set[str]() if options["ode"] else {*OF_THE_ODE}', "set[str]()"),
        ("probes-of-an-exact-trace", '    if options["probe"] == "exact":\n', "    if False:\n"),
        ("images-asked-for-recorded", "measured.best.bits_per_dim.shape[1],\n        \"seconds\"",
         "config.likelihood.num_images,\n        \"seconds\""),
    ),
    *mutants("modes/classify.py", "tests/modes/test_classify.py",
        ("classes-share-their-batches", 'f"class {label} of {folder}"', '"class"'),
    ),
    *mutants("likelihood/anomaly.py", "tests/likelihood/test_anomaly.py",
        ("auc-of-the-normal", "Auc(float(below.mean())", "Auc(float(1 - below.mean())"),
        ("auc-error-of-one-sample", "below.var(ddof=1) / n + above.var(ddof=1) / m", "below.var(ddof=1) / n"),
    ),
    *mutants("likelihood/classifier.py", "tests/likelihood/test_classifier.py",
        ("dearest-class", "- np.asarray(costs, np.float64).T", "+ np.asarray(costs, np.float64).T"),
        ("classifier-without-a-prior", "np.log(prior)[None]", "0 * np.log(prior)[None]"),
        ("confusion-transposed", "(labels, predicted), 1", "(predicted, labels), 1"),
    ),
]
# fmt: on

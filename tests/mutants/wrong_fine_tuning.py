"""Mistakes in low-rank updates, adapters in use, and means of weights."""

from tests.mutants.mutant import mutants

LOW_RANK = "tests/models/test_low_rank.py"
TASK = "tests/training/test_low_rank_task.py"
MERGE = "tests/modes/test_merge.py"
START = "tests/training/test_start.py"

# fmt: off
FINE_TUNING = [
    *mutants("models/low_rank.py", LOW_RANK,
        ("update-scaled-by-alpha-times-r", "return self.alpha / self.rank", "return self.alpha * self.rank"),
        ("update-without-the-rank", "return self.alpha / self.rank", "return self.alpha"),
        ("update-without-its-scale", "W + scale * (A @ B)", "W + (A @ B)"),
        ("a-begins-at-zero-and-b-random", 'flat[(*path, "A")] = normal / math.sqrt(m)\n        flat[(*path, "B")] = jnp.zeros((low_rank.rank, n), jnp.float32)', 'flat[(*path, "A")] = 0 * normal\n        flat[(*path, "B")] = jax.random.normal(key, (low_rank.rank, n))'),
        ("both-begin-at-zero", "normal / math.sqrt(m)", "0 * normal"),
        ("first-update-of-variance-one", "normal / math.sqrt(m)", "normal"),
        ("one-key-for-all-updates", "jax.random.fold_in(key, i)", "key"),
        ("convolution-by-its-input-channels", "math.prod(shape[:-1]), shape[-1]", "shape[-2], math.prod(shape) // shape[-2]"),
        ("update-in-place-of-the-weights", "moved[path] = W + scale * (A @ B).reshape(W.shape)", "moved[path] = scale * (A @ B).reshape(W.shape)"),
    ),
    *mutants("training/low_rank_task.py", TASK,
        ("update-trained-by-another-scale", "return merged(base, adapters, self.low_rank.scale)", "return merged(base, adapters, self.low_rank.alpha * 0.5)"),
        ("base-not-kept", "keep_base(folder, self.base)", "pass"),
        ("base-kept-again", "if not saved_steps(checkpoint_folder(folder)):\n            keep_base(folder, self.base)", "keep_base(folder, self.init())"),
        ("base-asked-of-the-source-again", "if saved_steps(checkpoint_folder(workdir)):", "if False:"),
        ("evaluators-see-the-base", "evaluate=lambda averaged, step: evaluator.evaluate(\n                    updated(averaged, self.base), step", "evaluate=lambda averaged, step: evaluator.evaluate(\n                    self.base, step"),
        ("weights-train-with-their-updates", "return first_adapters(self.low_rank, self.base, stream_key(self.seed, Stream.INIT))", "return jax.tree.map(jnp.asarray, self.base)"),
    ),
    *mutants("training/folder_weights.py", TASK,
        ("folder-of-adapters-without-its-scale", "adapters, low_rank.scale)", "adapters, 1.0)"),
        ("update-merged-twice", "params = merged(base_of(workdir, template), adapters, low_rank.scale)", "params = merged(merged(base_of(workdir, template), adapters, low_rank.scale), adapters, low_rank.scale)"),
        ("update-of-the-newest-parameters", "return restore_ema(workdir, template, step)", 'from score_sde.training.checkpoints import restore_part\n    return restore_part(workdir, "params", template, step)'),
    ),
    *mutants("training/adapters.py", TASK,
        ("adapters-without-their-weights", "merged(updated, adapters, weight * scale)", "merged(updated, adapters, scale)"),
        ("last-adapter-only", "merged(updated, adapters, weight * scale)", "merged(jax.device_get(params), adapters, weight * scale)"),
        ("alpha-of-a-file-not-by-its-rank", "alpha / ranks.pop()", "1.0"),
        ("adapter-of-other-classes", "        check_same_classes(\n", "        (lambda *_: None)(\n"),
        ("adapter-of-another-network", "    check_recorded(config, workdir)\n    return adapters_of", "    return adapters_of"),
    ),
    *mutants("training/adapters.py", "tests/modes/test_export.py::test_the_file_is_the_average_with_its_alpha",
        ("folder-of-adapters-does-not-age", "newest_file(checkpoint_folder(source)) if", "0.0 if"),
        ("file-of-an-adapter-does-not-age", "else source.stat().st_mtime", "else 0.0"),
    ),
    *mutants("modes/merge.py", MERGE,
        ("sum-of-weights-no-mean", "[1 / len(folders)] * len(folders)", "[1.0] * len(folders)"),
        ("mean-in-single-steps", "s + c * p.astype(np.float64)", "c * (s + p.astype(np.float64))"),
        ("merged-folder-is-one-of-adapters", '    "training.lora.rank": 0,\n', ""),
        ("merge-of-another-network", "            check_recorded(config, folder)\n", ""),
        ("no-class-merged-that-was-not-learned", "            check_learned_no_class(config, folder)\n", ""),
        ("merge-without-adapters", "params = with_adapters(config, params, classes)", "pass"),
    ),
    *mutants("training/trained_score.py", f"{TASK}::test_adapters_in_use",
        ("file-names-of-any-length", "if len(os.fsencode(updates)) > LONGEST:", "if False:"),
        ("names-of-adapters-as-typed", "digest_of({'adapters': updates})", "digest_of({'adapters': self.adapters})"),
    ),
    *mutants("training/init_from.py", START,
        ("begins-with-another-prediction", "check_same_network(config, source)", "pass"),
        ("process-is-of-the-network", "its_own = name.startswith(network) and name not in of_process", "its_own = name.startswith(network)"),
    ),
]

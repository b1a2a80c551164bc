"""Mistakes in losses, updates, averages, resuming, and in the data."""

from tests.mutants.mutant import mutants

LOSSES = "tests/training/test_losses.py"
PUBLISHED_LOSSES = f"{LOSSES}::test_continuous_losses_are_the_published_ones"
STEP = "tests/training/test_step.py"
NOISE_OF_A_STEP = "tests/training/test_noise_of_a_step.py"
FEED = "tests/training/test_feed.py"
HELD_OUT = "tests/training/test_held_out.py"
OPTIMIZER = "tests/training/test_optimizer.py"
RESUMED = "tests/training/test_loop.py::test_a_resumed_run_is_the_run_without_a_stop"
SCALING = "tests/data/test_scaling.py"
ORDER = "tests/data/test_data_order.py"

# fmt: off
TRAINING = [
    *mutants("training/losses.py", PUBLISHED_LOSSES,
        ("loss-weight-g", "self.sde.diffusion_squared(t) / jnp.square(sigma) * error", "self.sde.diffusion(t) / jnp.square(sigma) * error"),
        ("loss-weight-over-sigma", "self.sde.diffusion_squared(t) / jnp.square(sigma) * error", "self.sde.diffusion_squared(t) / sigma * error"),
    ),
    *mutants("training/losses.py", LOSSES,
        ("loss-with-the-sign-of-the-noise", "* score + z)", "* score - z)"),
        ("loss-from-time-zero", "self.eps + u * (self.sde.T - self.eps)", "u * self.sde.T"),
        ("loss-past-the-end-of-time", "self.eps + u * (self.sde.T - self.eps)", "self.eps + u * self.sde.T"),
        ("loss-noised-by-the-variance", "x = mean + expand(sigma, x0) * z", "x = mean + expand(jnp.square(sigma), x0) * z"),
    ),
    *mutants("training/losses.py", f"{LOSSES}::test_a_zero_output_has_the_loss_of_the_noise",
        ("loss-of-the-whole-sum", "0.5 * jnp.sum(squares, axis=1)", "jnp.sum(squares, axis=1)"),
        ("loss-always-the-mean", "jnp.mean(squares, axis=1) if reduce_mean else 0.5 * jnp.sum(squares, axis=1)", "jnp.mean(squares, axis=1)"),
    ),
    *mutants("training/losses.py", f"{LOSSES}::test_discrete_losses_are_the_published_ones",
        ("discrete-loss-without-alpha", "expand(self.chain.alphas[level], x0) * x0", "x0"),
        ("discrete-loss-without-the-last-level", "(u * n).astype(jnp.int32)", "(u * (n - 1)).astype(jnp.int32)"),
    ),
    *mutants("training/objective.py", f"{STEP}::test_keys_differ_between_uses_images_and_steps",
        ("images-share-their-noise", "jax.random.split(jax.random.fold_in(key, index), 5)", "jax.random.split(key, 5)"),
    ),
    *mutants("training/objective.py", f"{STEP}::test_training_mirrors_half_of_the_images_whatever_their_time",
        ("flips-decided-by-the-time", "uniforms(keys.flip) < 0.5", "uniforms(keys.time) < 0.5"),
    ),
    *mutants("training/objective.py", f"{STEP}::test_x0_of_levels_is_dequantised_and_flipped_as_asked",
        ("dequantisation-shared", "u = jax.vmap(lambda key: jax.random.uniform(key, shape))(keys)", "u = jax.random.uniform(keys[0], images.shape[1:])[None].repeat(images.shape[0], 0)"),
    ),
    *mutants("training/step.py", NOISE_OF_A_STEP,
        ("noise-the-same-at-every-step", "Stream.TRAIN), state.step)", "Stream.TRAIN), 0)"),
    ),
    *mutants("training/step.py", f"{STEP}::test_the_update_is_the_gradient_of_the_mean_loss",
        ("average-one-step-behind", "update_ema(state.ema_params, params,", "update_ema(state.ema_params, state.params,"),
    ),
    *mutants("training/step.py", f"{STEP}::test_four_devices_make_the_update_of_one",
        ("gradients-summed-over-devices", "jax.lax.pmean((loss, gradient), AXIS)", "jax.lax.psum((loss, gradient), AXIS)"),
        ("gradients-of-one-device", "loss, gradient = jax.lax.pmean((loss, gradient), AXIS)", "loss = jax.lax.pmean(loss, AXIS)"),
    ),
    *mutants("training/held_out.py", f"{STEP}::test_held_out_loss_is_the_mean_over_the_split_whatever_the_batch",
        ("padding-counts-in-the-held-out-loss", "(place < n).astype(np.float32)", "np.ones(share, np.float32)"),
    ),
    *mutants("training/state.py", OPTIMIZER,
        ("average-rate-swapped", "ema + (1.0 - rate) * (p - ema)", "ema + rate * (p - ema)"),
        ("average-drifts-at-rest", "ema + (1.0 - rate) * (p - ema)", "rate * ema + (1.0 - rate) * p"),
        ("average-warm-up-off-by-one", "n = (step + 1).astype(jnp.float32)", "n = step.astype(jnp.float32)"),
        ("average-warm-up-ignored", "return jnp.minimum(rate, (1.0 + n) / (10.0 + n))", "return rate"),
    ),
    *mutants("training/optimizer.py", OPTIMIZER,
        ("warm-up-off-by-one", "jnp.minimum(count / optim.warmup, 1.0)", "jnp.minimum((count + 1) / optim.warmup, 1.0)"),
        ("clip-of-each-number", "optax.clip_by_global_norm(clip)", "optax.clip(clip)"),
        ("betas-swapped", "b1=optim.beta1, b2=optim.beta2", "b1=optim.beta2, b2=optim.beta1"),
        ("adam-eps-ignored", ", eps=optim.eps)", ")"),
        ("decay-of-frozen-frequencies", "optax.add_decayed_weights(decay, mask=trained)", "optax.add_decayed_weights(decay)"),
        ("cosine-from-the-start", "(count - optim.warmup) / decaying", "count / decaying"),
    ),
    *mutants("training/loop.py", FEED,
        ("resumed-data-from-the-start", "        step = start_step\n", "        step = 0\n"),
        ("resumed-stream-from-the-start", "split.batches(seed, batch_size, start_step, host, hosts)", "split.batches(seed, batch_size, 0, host, hosts)"),
    ),
    *mutants("training/loop.py", RESUMED,
        ("resumed-one-batch-late", "feed(self.config, self.datasets.train, self.step)", "feed(self.config, self.datasets.train, self.step + (self.step > 0))"),
    ),
    *mutants("training/loop.py", HELD_OUT,
        ("held-out-loss-of-the-last-weights", "self.held_out(self.state.ema_params)", "self.held_out(self.state.params)"),
    ),
    *mutants("training/objective.py", HELD_OUT,
        ("held-out-loss-with-dropout", "self._losses(params, images, u, keys, None)", "self._losses(params, images, u, keys, keys.dropout)"),
    ),
]

DATA = [
    *mutants("data/order.py", ORDER,
        ("epochs-of-seed-plus-epoch", "np.random.SeedSequence((seed, epoch))", "np.random.SeedSequence(seed + epoch)"),
        ("same-order-in-every-epoch", "np.random.SeedSequence((seed, epoch))", "np.random.SeedSequence((seed, 0))"),
        ("batches-one-step-late", "position = int(step) * batch_size", "position = int(step + 1) * batch_size"),
    ),
    *mutants("data/scaling.py", SCALING,
        ("levels-truncated", "else jnp.round(y * (num_levels - 1))", "else jnp.floor(y * (num_levels - 1))"),
        ("dequantised-levels-rounded", "jnp.floor(y * num_levels) if dequantized", "jnp.round(y * num_levels) if dequantized"),
        ("levels-not-clipped", "levels = jnp.floor(y * num_levels) if dequantized else jnp.round(y * (num_levels - 1))\n    return jnp.clip(levels, 0, num_levels - 1).astype(level_type(num_levels))", "levels = jnp.floor(y * num_levels) if dequantized else jnp.round(y * (num_levels - 1))\n    return levels.astype(level_type(num_levels))"),
        ("white-is-not-one", "images.astype(jnp.float32) / (num_levels - 1)", "images.astype(jnp.float32) / num_levels"),
        ("noise-up-to-the-next-level", "jnp.clip(u, margin, 1 - margin)", "u"),
        ("offset-with-the-wrong-sign", "- math.log2(scale)", "+ math.log2(scale)"),
        ("offset-without-the-slope", "return 2.0 if centered else 1.0", "return 1.0"),
        ("offset-in-nats", "0.0 if num_levels is None else math.log2(num_levels)", "0.0 if num_levels is None else math.log(num_levels)"),
    ),
]
# fmt: on

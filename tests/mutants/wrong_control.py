"""Mistakes with a ControlNet and with texts."""

from tests.mutants.mutant import mutants

NETWORK = "tests/models/test_control.py"
TRAINED = "tests/training/test_frozen.py"
WORDS = "tests/models/test_cross_attention.py"
CAPTIONED = "tests/data/test_captions_dataset.py"

# fmt: off
CONTROL = [
    *mutants("models/control.py", f"{NETWORK}::test_at_the_start_it_is_the_base_whatever_it_is_told",
        ("convolutions-not-of-zeros", "return nn.Conv(features, (1, 1), kernel_init=zeros,", "return nn.Conv(features, (1, 1), kernel_init=nn.initializers.ones,"),
    ),
    *mutants("models/control.py", f"{NETWORK}::test_told_and_scaled",
        ("scale-left-out", "return base(x, noise_input, rest, None, control, self.control_scale)", "return base(x, noise_input, rest, None, control)"),
        ("copy-told-nothing", "control = Copy(**fields, name=CONTROL)(x, noise_input, condition, dropout_keys)", "control = Copy(**fields, name=CONTROL)(x, noise_input, {**rest, \"image\": 0.0 * condition[\"image\"]} if condition else (), dropout_keys)"),
    ),
    *mutants("models/ncsnpp.py", f"{NETWORK}::test_told_and_scaled",
        ("middle-scaled-twice", "self.middle + scale * control.middle", "self.middle + scale * scale * control.middle"),
    ),
    *mutants("models/ncsnpp.py", f"{NETWORK}::test_after_one_step_the_zero_convolutions_have_moved_and_the_copy_has_not",
        ("middle-not-controlled", "            self.middle + scale * control.middle, [", "            self.middle, ["),
    ),
    *mutants("training/frozen.py", f"{NETWORK}::test_the_control_begins_with_the_encoder",
        ("control-from-scratch", "frozen[BASE].get(name, of) for name, of", "of for name, of"),
    ),
    *mutants("training/frozen.py", f"{TRAINED}::test_the_base_is_kept_beside_and_only_the_control_has_a_state",
        ("base-among-the-trained", "return {name: of for name, of in params.items() if name not in names} if names else params", "return params"),
    ),
    *mutants("training/frozen.py", f"{TRAINED}::test_it_goes_on_without_the_folder_of_its_base",
        ("base-read-again", "if begins and not saved_steps(checkpoint_folder(workdir)):", "if begins:"),
    ),
    *mutants("models/cross_attention.py", f"{WORDS}::test_it_is_the_mean_under_a_gibbs_law",
        ("logits-by-d", "logits / math.sqrt(q.shape[-1])", "logits / q.shape[-1]"),
    ),
    *mutants("models/cross_attention.py", f"{WORDS}::test_what_only_fills_up_changes_nothing",
        ("padding-attended", "ids > 0)", "ids >= 0)"),
    ),
    *mutants("models/cross_attention.py", f"{WORDS}::test_large_logits_and_no_word_at_all_are_finite",
        ("softmax-without-its-largest", "most = jax.lax.stop_gradient(logits.max(-1, keepdims=True))", "most = jnp.zeros(())"),
        ("nan-of-no-word", "jnp.where(jnp.isfinite(most), most, 0.0)", "most"),
    ),
    *mutants("models/cross_attention.py", f"{WORDS}::test_a_new_block_and_one_without_a_word_are_nothing",
        ("text-seen-at-once", "kernel_init=zeros, dtype=self.dtype, name=\"out\")", "dtype=self.dtype, name=\"out\")"),
    ),
    *mutants("models/conditions.py", f"{WORDS}::test_no_text_is_the_network_without_words",
        ("no-text-is-the-first-word", "\"image_noise\": 0.0, \"text\": 0}", "\"image_noise\": 0.0, \"text\": 1}"),
    ),
    *mutants("data/text.py", f"{CAPTIONED}::test_texts_become_numbers",
        ("first-word-is-none", "place = {word: i + 1 for", "place = {word: i for"),
    ),
    *mutants("data/captions.py", f"{CAPTIONED}::test_objects_are_anywhere",
        ("objects-in-the-first-quarters", "rng.choice(4, number + 1, replace=False)", "range(number + 1)"),
        ("objects-in-the-corner-of-their-quarter", "rng.integers(quarter - across, size=2)", "rng.integers(1, size=2)"),
    ),
    *mutants("data/captions.py", f"{CAPTIONED}::test_real_images_are_counted_without_error",
        ("objects-that-touch", "size=2) + quarter *", "size=2) + (quarter - 3) *"),
    ),
    *mutants("evaluation/captions.py", f"{CAPTIONED}::test_what_is_seen_on_a_picture",
        ("corners-do-not-touch", "TOUCHING = np.ones((3, 3), int)", "TOUCHING = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])"),
        ("any-corner-is-a-square", "if corners.all():", "if corners.any():"),
    ),
]

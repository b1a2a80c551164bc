"""Mistakes in files of other programs' weights: layouts, names, claims that are believed, contents that run."""

from tests.mutants.mutant import mutants

SAFETENSORS = "tests/foreign_weights/test_safetensors.py"
FILES = "tests/foreign_weights/test_array_file.py"
MODES = "tests/foreign_weights/test_state_dict_modes.py"
STATES = "tests/foreign_weights/test_modes.py::test_layers_of_no_published_network_are_refused_before_a_file_is_read"
EDM = "tests/models/test_edm_networks.py"

# fmt: off
IMPORTS = [
    *mutants("foreign_weights/state_dicts.py", FILES,
        ("no-class-kept-in-an-export", "form.classes in arrays and not no_class", "form.classes in arrays and not len(arrays)"),
        ("no-class-first", "np.concatenate([array, np.zeros_like(array[:1])])", "np.concatenate([np.zeros_like(array[:1]), array])"),
        ("shapes-of-a-state-dict-not-checked", "    if wrong:\n", "    if not wrong:\n"),
        ("names-of-a-state-dict-not-checked", "if given.keys() != shapes.keys():", "if not given.keys() & shapes.keys():"),
    ),
    *mutants("foreign_weights/state_dicts.py", "tests/models/test_edm2.py::test_exported_arrays_are_the_published_and_accepted",
        ("scalars-exported-as-vectors", "{full_name(form, name): array for", "{full_name(form, name): np.atleast_1d(array) for"),
    ),
    *mutants("foreign_weights/state_dicts.py", MODES,
        ("kernels-exported-inputs-first", "apart.transpose(apart.ndim - 1, apart.ndim - 2,", "apart.transpose(apart.ndim - 2, apart.ndim - 1,"),
        ("exported-without-the-module", "return name if name.startswith(form.beside) else form.within + name", "return name"),
    ),
    *mutants("foreign_weights/torch_checkpoint.py", "tests/foreign_weights/test_torch_optimizer.py",
        ("exported-with-the-rate-of-the-next-update", "max(record.step - 1, 0)", "record.step"),
        ("exported-with-adams-usual-eps", '"eps": optim.eps', '"eps": 1e-8'),
        ("exported-without-weight-decay", '"weight_decay": optim.weight_decay', '"weight_decay": 0.0'),
    ),
    *mutants("models/edm_network.py", MODES,
        ("filters-of-another-size", "/ np.square(taps.sum())", "/ taps.sum()"),
    ),
    *mutants("models/edm_unet.py", f"{EDM}::test_the_image_joins_the_features_of_each_level",
        ("no-filter-of-an-image-that-is-halved", "\"residual\": \"aux_residual\", \"input_skip\": \"aux_down\"", "\"residual\": \"aux_residual\""),
    ),
    *mutants("modes/export_checkpoint.py", f"{MODES}::test_no_class_of_a_file_without_it_can_be_learned_but_not_used",
        ("untrained-no-class-exported", "no_class=rate > 0", "no_class=True"),
    ),
    *mutants("modes/import_checkpoint.py", f"{MODES}::test_no_class_of_a_file_without_it_can_be_learned_but_not_used",
        ("no-class-of-zeros-imported", "        check_never_asked(record, config)\n", ""),
    ),
    *mutants("foreign_weights/published_networks.py", f"{STATES} {MODES}",
        ("words-exported-as-layers-of-others", "OWN_LAYERS | (OF_WORDS if name in PUBLISHED_NETWORKS else {})", "OWN_LAYERS"),
        ("layers-of-ones-own-exported", "own_layers = OWN_LAYERS |", "own_layers ="),
    ),
    *mutants("foreign_weights/state_dict_file.py", FILES,
        ("buffers-not-compared", "if not error <= rounding:", "if error < 0:"),
        ("no-class-asked-for", "if record.lacks_no_class and config.training.label_dropout:", "if not config.training:"),
        ("float64-rounded", "if array.dtype != FLOAT32 and array.dtype not in HALVES:", "if array.dtype.hasobject:"),
    ),
    *mutants("foreign_weights/array_file.py", FILES,
        ("pickles-opened", "if start.startswith(PICKLE_MAGIC) and not", "if not start and not"),
        ("objects-of-npz-run", "allow_pickle=False", "allow_pickle=True"),
        ("pytorch-contents-not-looked-at", "    if others:\n", "    if not contents:\n"),
    ),
    *mutants("foreign_weights/safetensors.py", SAFETENSORS,
        ("header-length-believed", "if length > min(size - LENGTH.size, LONGEST_HEADER):", "if length > 2**64:"),
        ("gaps-in-safetensors", "if place.begin != reached:", "if place.begin < reached:"),
        ("overlaps-in-safetensors", "if place.begin != reached:", "if place.begin > reached:"),
        ("shapes-of-safetensors-believed", "if end - begin != needed:", "if end < begin:"),
        ("names-twice-in-safetensors", "if len(found) < len(pairs):", "if not pairs:"),
        ("rows-of-a-transposed-array", "np.ascontiguousarray(array).tobytes()", "array.tobytes(\"A\")"),
    ),
]

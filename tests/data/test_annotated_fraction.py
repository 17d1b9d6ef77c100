import datasets
import numpy as np
import pytest

from hf_guidance.data.annotated import annotated_indices, with_annotated_fraction


@pytest.mark.parametrize(("rows", "fraction", "seed"), [(250, 0.1, 0), (251, 0.01, 1)])
def test_the_subsets_of_the_released_code(golden, agree, rows, fraction, seed):
    data = golden("model_guidance/boxes_and_annotations")
    ours = annotated_indices(rows, fraction, seed)
    assert len(set(ours.tolist())) == len(ours)
    agree("model_guidance/boxes_and_annotations", np.sort(ours), data[f"annotated_n{rows}_f{fraction}_seed{seed}"], 0.0)


@pytest.mark.parametrize(("fraction", "count"), [(0, 0), (0.29, 2), (1, 7)])
def test_counts_are_cut_to_whole_rows(fraction, count):
    indices = annotated_indices(7, fraction, 3)
    assert len(indices) == len(set(indices.tolist())) == count


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan"), "0.1"])
def test_fractions_outside_zero_and_one_are_refused(fraction):
    with pytest.raises(ValueError, match=r"fraction=.*outside \[0, 1\]"):
        annotated_indices(10, fraction, 0)


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5, "0", None])
def test_seeds_that_the_generator_does_not_take_are_refused(seed):
    with pytest.raises(ValueError, match=r"seed=.* is not a whole number from 0 to"):
        annotated_indices(10, 0.5, seed)


def test_the_global_generator_is_left_alone():
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    annotated_indices(10, 0.5, 0)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_the_column_replaces_an_earlier_one():
    dataset = datasets.Dataset.from_dict({"label": list(range(20)), "annotated": [True] * 20})
    flagged = with_annotated_fraction(dataset, 0.25, 5)
    assert np.flatnonzero(flagged["annotated"]).tolist() == sorted(annotated_indices(20, 0.25, 5).tolist())
    assert flagged["label"] == dataset["label"]


def test_a_fraction_that_chooses_no_row_is_refused_but_for_zero():
    dataset = datasets.Dataset.from_dict({"label": list(range(10))})
    with pytest.raises(ValueError, match=r"fraction=0.01 of 10 rows annotates none; give a larger fraction, or 0"):
        with_annotated_fraction(dataset, 0.01, 0)
    assert not any(with_annotated_fraction(dataset, 0, 0)["annotated"])


def test_splits_and_streams_are_refused():
    dataset = datasets.Dataset.from_dict({"label": list(range(10))})
    for given in (datasets.DatasetDict(train=dataset), dataset.to_iterable_dataset()):
        with pytest.raises(ValueError, match=rf"{type(given).__name__} has no rows .* give one datasets.Dataset"):
            with_annotated_fraction(given, 0.5, 0)


def test_a_fraction_of_the_images_with_all_of_their_captions():
    images = [f"i{number % 20}" for number in range(100)]
    rows = datasets.Dataset.from_dict({"image_id": images})
    flagged = with_annotated_fraction(rows, 0.2, 1, by="image_id")
    chosen = {image for image, flag in zip(images, flagged["annotated"], strict=True) if flag}
    assert len(chosen) == 4
    assert flagged["annotated"][:] == [image in chosen for image in images]
    assert chosen == {sorted(set(images))[index] for index in annotated_indices(20, 0.2, 1)}
    with pytest.raises(ValueError, match=r"by='image' is no column; there are \['image_id'\]"):
        with_annotated_fraction(rows, 0.2, 1, by="image")

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_guidance.forward import ExplainedRows

ROWS = ExplainedRows(["importance_2"])


def make(classes, annotated=None):
    """A batch as the collator lays it out; every pair's importance holds image * 10 + class."""
    pairs = [(image, slot, c) for image, some in enumerate(classes) for slot, c in enumerate(some)]
    return {
        "pixel_values": torch.arange(len(classes)),
        "labels": torch.arange(len(classes)) + 100,
        "name": [f"image {i}" for i in range(len(classes))],
        "row": [image for image, _, _ in pairs],
        "slot": [slot for _, slot, _ in pairs],
        "target": torch.tensor([c for _, _, c in pairs], dtype=torch.long),
        "annotated": annotated or [True] * len(pairs),
        "importance": torch.tensor([image * 10 + c for image, _, c in pairs]),
        "importance_2": torch.tensor([image * 10 + c for image, _, c in pairs]),
    }


def consistent(batch, original):
    """Every pair still belongs to its image, and has its class and importance."""
    images = batch["pixel_values"].tolist()
    assert batch["labels"].tolist() == [image + 100 for image in images]
    assert batch["name"] == [f"image {i}" for i in images]
    lengths = {len(batch[name]) for name in ("row", "slot", "target", "annotated", "importance", "importance_2")}
    assert len(lengths) == 1
    for row, target, importance in zip(
        batch["row"], batch["target"].tolist(), batch["importance"].tolist(), strict=True
    ):
        assert importance == images[row] * 10 + target
    assert torch.equal(batch["importance"], batch["importance_2"])
    pairs = {(image, c) for image, c in zip(original["row"], original["target"].tolist(), strict=True)}
    assert {(images[r], c) for r, c in zip(batch["row"], batch["target"].tolist(), strict=True)} <= pairs
    return batch


@st.composite
def batches(draw):
    classes = draw(st.lists(st.lists(st.integers(0, 9), max_size=3, unique=True), min_size=1, max_size=5))
    count = sum(map(len, classes))
    return make(classes, draw(st.lists(st.booleans(), min_size=count, max_size=count)))


@given(batches(), st.data())
@settings(max_examples=80, deadline=None)
def test_cuts_keep_pairs_and_images_together(batch, data):
    one = consistent(ROWS.draw_one_per_image(batch), batch)
    assert sorted(one["row"]) == sorted(set(batch["row"]))
    assert one["slot"] == [0] * len(one["row"])
    only = consistent(ROWS.annotated_only(batch), batch)
    assert all(only["annotated"])
    assert len(only["annotated"]) == sum(batch["annotated"])
    images = ROWS.annotated_images(batch)
    assert images == sorted({r for r, a in zip(batch["row"], batch["annotated"], strict=True) if a})
    chosen = data.draw(st.permutations(range(len(batch["pixel_values"]))).map(lambda p: p[: max(1, len(p) // 2)]))
    part = consistent(ROWS.take_images(batch, chosen), batch)
    assert part["pixel_values"].tolist() == list(chosen)
    assert len(part["row"]) == sum(row in chosen for row in batch["row"])


def test_class_sampling_has_the_released_codes_probabilities(golden):
    data = golden("model_guidance/boxes_and_annotations")
    targets, probabilities = data["sampling_targets"], data["sampling_probabilities"]
    batch = make([[c for c in range(4) if row[c]] for row in targets])
    torch.manual_seed(0)
    counts, draws = Counter(), 4000
    for _ in range(draws):
        drawn = ROWS.draw_one_per_image(batch)
        counts.update(zip(drawn["row"], drawn["target"].tolist(), strict=True))
    for image in range(len(targets)):
        for c in range(4):
            p = float(probabilities[image, c])
            # Four standard deviations of the share.
            assert counts[image, c] / draws == pytest.approx(p, abs=4 * (p * (1 - p) / draws) ** 0.5 + 1e-9)


def test_draws_follow_the_global_generator():
    batch = make([[0, 1, 2], [3, 4], [5, 6, 7]])
    torch.manual_seed(3)
    first = [ROWS.draw_one_per_image(batch)["target"].tolist() for _ in range(5)]
    torch.manual_seed(3)
    assert [ROWS.draw_one_per_image(batch)["target"].tolist() for _ in range(5)] == first
    assert len({tuple(f) for f in first}) > 1


def test_batches_without_pairs():
    plain = {"pixel_values": torch.arange(3), "labels": torch.arange(3)}
    assert ROWS.draw_one_per_image(plain) == plain
    assert ROWS.annotated_images(plain) == [0, 1, 2]
    assert ROWS.annotated_only(plain) == plain
    assert ROWS.take_images(plain, [2, 0])["labels"].tolist() == [2, 0]


def test_batches_whose_rows_are_the_images():
    batch = {"pixel_values": torch.arange(3), "target": torch.arange(3), "importance": torch.arange(3)}
    part = ROWS.take_images(batch | {"annotated": [True, False, True]}, [1, 2])
    assert part["target"].tolist() == part["importance"].tolist() == [1, 2]
    assert part["annotated"] == [False, True]
    only = ROWS.annotated_only(batch | {"annotated": [True, False, True]})
    assert (only["row"], only["target"].tolist(), only["pixel_values"].tolist()) == ([0, 2], [0, 2], [0, 1, 2])
    unflagged = ROWS.take_images(batch, [2, 0])
    images = [unflagged["pixel_values"].tolist()[row] for row in unflagged.get("row", range(2))]
    assert unflagged["target"].tolist() == unflagged["importance"].tolist() == images


def test_columns_of_explained_rows_are_named_not_guessed():
    """What a column is called tells nothing: "unimportance" lies in no list, so it has one entry for each image."""
    known = (
        "row", "slot", "time", "target", "word_tokens", "annotated", "importance", "random_importance", "saved_map", "answer",
        "human_map",
    )  # fmt: skip
    assert set(known) == ExplainedRows().columns
    assert ExplainedRows(["hints"]).columns == {*known, "hints"}
    batch = make([[0, 1], [2]], annotated=[False, True, True]) | {
        "unimportance": torch.arange(2),
        "hints": torch.arange(3),
    }
    only = ExplainedRows(["importance_2", "hints"]).annotated_only(batch)
    assert (only["hints"].tolist(), only["unimportance"].tolist()) == ([1, 2], [0, 1])

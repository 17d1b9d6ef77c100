"""A third kind of row: a collator of its own, and neither the trainer nor its checks know of it."""

import math

import pytest
import torch

from hf_guidance import Grounding, Guidance, GuidanceArguments, GuidanceCollator, GuidedTrainer, QuestionCollator, Term
from hf_guidance.attributions import InputXGradient
from hf_guidance.data import CaptionCollator, ExplainedRowsCollator, RowCollator
from hf_guidance.data.annotated import check_annotated
from hf_guidance.data.columns import KNOWN_COLUMNS
from hf_guidance.data.explained_rows_collator import _check_same
from hf_guidance.forward import Forward
from hf_guidance.objectives import Energy


class Tiles(RowCollator):
    """Rows {"tiles", "kind", "hint"}: an image as a list of numbers, its class, and where to look, shown twice."""

    columns, sources = ("tiles", "kind", "hint"), ("hint",)
    explained_row_columns = (*RowCollator.explained_row_columns, "hints")

    def __init__(self, shuffled=False):
        self.shuffled = shuffled

    def __call__(self, rows):
        pixels = torch.tensor([row["tiles"] for row in rows]).reshape(-1, 1, 4, 4).expand(-1, 3, 4, 4)
        hints = torch.tensor([row["hint"] for row in rows]).reshape(-1, 4, 4)
        kinds = torch.tensor([row["kind"] for row in rows])
        images = list(range(len(rows)))
        return {
            "pixel_values": pixels.clone(),
            "labels": kinds,
            "row": [image for image in images for _ in (0, 1)],
            "slot": [slot for _ in images for slot in (0, 1)],
            "annotated": [bool(hint.any()) for hint in hints for _ in (0, 1)],
            "target": kinds.repeat_interleave(2),
            "hints": (hints.flip(1) if self.shuffled else hints).repeat_interleave(2, 0),
        }

    def for_evaluation(self):
        return Tiles()


def dataset(hinted=True):
    import datasets

    generator = torch.Generator().manual_seed(0)
    rows = [
        {
            "tiles": torch.randn(16, generator=generator).tolist(),
            "kind": index % 2,
            "hint": ([1.0] * 8 + [0.0] * 8) if hinted and index % 4 else [0.0] * 16,
        }
        for index in range(8)
    ]
    if not hinted:
        rows = [{name: value for name, value in row.items() if name != "hint"} for row in rows]
    return datasets.Dataset.from_list(rows)


def trainer(tmp_path, collator, rows):
    from transformers import ResNetConfig, ResNetForImageClassification

    torch.manual_seed(0)
    shape = {"embedding_size": 8, "hidden_sizes": [8, 8], "depths": [1, 1], "layer_type": "basic", "num_labels": 2}
    model = ResNetForImageClassification(ResNetConfig(**shape, downsample_in_first_stage=False))
    model.resnet.embedder.pooler = torch.nn.Identity()
    args = GuidanceArguments(
        str(tmp_path), max_steps=2, per_device_train_batch_size=4, report_to="none", use_cpu=True, disable_tqdm=True,
        frozen_batch_norm=True, save_strategy="no", dataloader_pin_memory=False, logging_steps=1,
    )  # fmt: skip
    attribution = InputXGradient("input")
    return GuidedTrainer(
        model, args, train_dataset=rows, eval_dataset=rows, data_collator=collator,
        guidance=Guidance(energy=Term(Energy(attribution, importance="hints"))),
        grounding=Grounding(attribution, importance="hints"),
    )  # fmt: skip


def test_it_trains_and_evaluates(tmp_path):
    """Mixed annotation and two explained rows for each image: every cut of a batch meets the column "hints"."""
    guided = trainer(tmp_path, Tiles(), dataset())
    guided.train()
    logged = [entry["loss/energy"] for entry in guided.state.log_history if "loss/energy" in entry]
    assert logged
    assert all(0 < value < 1 for value in logged)
    assert 0 < guided.evaluate()["eval_epg"] < 1


def test_it_is_evaluated_by_its_own_evaluation(tmp_path):
    plain, shuffled = (trainer(tmp_path, collator, dataset()) for collator in (Tiles(), Tiles(shuffled=True)))
    rows = [dataset()[1]]
    assert not torch.equal(plain.data_collator(rows)["hints"], shuffled.data_collator(rows)["hints"])
    assert shuffled.evaluate()["eval_epg"] == plain.evaluate()["eval_epg"]


def test_a_training_set_without_its_sources_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"none of the columns \['hint'\], so nothing can guide"):
        trainer(tmp_path, Tiles(), dataset(hinted=False))


def test_its_columns_are_kept(tmp_path):
    guided = trainer(tmp_path, Tiles(), dataset())
    guided._set_signature_columns_if_needed()
    assert {"tiles", "kind", "hint", *KNOWN_COLUMNS} <= set(guided._signature_columns)


def test_a_column_with_one_entry_for_each_image_is_refused_where_one_for_each_explained_row_is_read(tmp_path):
    guided = trainer(tmp_path, Tiles(), dataset())
    batch = Tiles()([dataset()[index] for index in range(4)])
    batch["hints"] = batch["hints"][::2]
    forward = Forward(guided.model, guided.family, batch, guided.guidance.needs())
    with pytest.raises(ValueError, match=r"'hints' has 4 entries, the batch 8 explained rows.*explained_row_columns"):
        forward.importance("hints")


def test_the_collators_of_the_library_are_row_collators():
    for kind in (CaptionCollator, GuidanceCollator, QuestionCollator):
        assert issubclass(kind, RowCollator)
        assert set(kind.sources) <= set(kind.columns)
        assert set(kind.columns) <= set(KNOWN_COLUMNS)
    with pytest.raises(NotImplementedError, match="RowCollator must define __call__"):
        RowCollator()([])


def test_a_collate_function_is_compared_in_every_batch():
    """In full at first, then at some lines and columns of pixels."""
    rows = [{"pixel_values": torch.rand(3, 16, 16), "labels": 0, "image_id": str(i)} for i in range(4)]
    changed = [False]

    def collate(rows):
        pixels = torch.stack([row["pixel_values"] for row in rows])
        return {"pixel_values": pixels.flip(-1) if changed[0] else pixels, "labels": torch.zeros(len(rows)).long()}

    collator = ExplainedRowsCollator(collate, GuidanceCollator(None, num_labels=1))
    for _ in range(4):
        assert collator(rows)["annotated"] == [False] * 4
    changed[0] = True
    with pytest.raises(ValueError, match="makes 'pixel_values' with other values"):
        collator(rows)


@pytest.mark.parametrize(("shape", "place"), [((6, 14), (3, 5)), ((14,), 5), ((2, 3, 14, 14), (1, 2, 7, 7))])
def test_later_batches_compare_all_that_are_no_pixels(shape, place):
    """Every seventh line and column is of pixels only: of two axes, as input_ids, it would be every seventh row."""
    ours = torch.arange(math.prod(shape)).reshape(shape)
    given = ours.clone()
    _check_same("column", given, ours, 7)
    given[place] += 1
    with pytest.raises(ValueError, match="makes 'column' with other values"):
        _check_same("column", given, ours, 7)


def test_checks_name_the_sources():
    with pytest.raises(ValueError, match=r"none of the columns \['hint', 'map'\]"):
        check_annotated(dataset(hinted=False), ("hint", "map"))

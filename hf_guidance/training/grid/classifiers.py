"""What a grid trains: data prepared once for each kind of model, the models, and the trainer of one run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import evaluate
import torch
from transformers import PrinterCallback, set_seed

from hf_guidance.attributions import Attribution
from hf_guidance.data.annotated import annotated_indices, with_annotated_fraction
from hf_guidance.data.builders import dataset_builder
from hf_guidance.data.columns import ANNOTATED, IMPORTANCE
from hf_guidance.data.images.augmentation import RandomCropAndFlip
from hf_guidance.data.images.collator import GuidanceCollator
from hf_guidance.evaluation import Grounding, metric_path
from hf_guidance.evaluation.classification import classification_metrics
from hf_guidance.forward import Forward
from hf_guidance.forward.maps import onto_image
from hf_guidance.guidance import Guidance
from hf_guidance.training.arguments import GuidanceArguments
from hf_guidance.training.grid.arguments import DataArguments
from hf_guidance.training.grid.cells import attribution_of
from hf_guidance.training.grid.images import prepared
from hf_guidance.training.grid.models import MULTI, image_processor, new_model
from hf_guidance.training.grid.options import read_json
from hf_guidance.training.trainer import GuidedTrainer

SCORES = ("f1", "map", "epg", "attribution_iou", "epg_undefined_share")
COLUMNS = {"boxes": "objects", "mask": "mask"}
"""Source of importance to the column of a row that holds it."""
_EVALUATION_BATCH = 100


class Classifiers:
    """The data and the models of a grid, shared by all of its runs.

    The data are built when this is made; an image is prepared when the first run of its kind of model needs it.

    Args:
        data: Which data, how they are prepared, and the configurations of the models.

    Raises:
        ValueError: An unknown dataset or option of its builder, or a split that the data do not have.
    """

    def __init__(self, data: DataArguments) -> None:
        self.data = data
        builder = dataset_builder(
            data.dataset, **read_json(data.builder_config), **({"data_dir": data.data_dir} if data.data_dir else {})
        )
        builder.download_and_prepare()
        self.raw_files = builder.config_id  # another one when a file of the data was changed
        self.splits = _three_splits(builder.as_dataset(), data)
        self.names = self.splits["train"].features["labels"].feature.names
        self._prepared: dict[tuple[str, str], list[dict[str, Any]]] = {}

    def processor(self, model: str) -> Any:
        """Make the image processor of a kind of model, at the size of training."""
        return image_processor(model, self.data.image_size)

    def rows(self, model: str, split: str) -> Any:
        """Give a split to a kind of model.

        Args:
            model: "vanilla", "xdnn" or "bcos".
            split: "train", "validation" or "test".

        Returns:
            Rows with pixels at the size of training, or the split as it is where images are not kept in memory.
        """
        if not self.data.in_memory:
            return self.splits[split]
        key = ("bcos" if model == "bcos" else "rgb", split)  # B-cos takes six channels, the others three
        if key not in self._prepared:
            processor = self.processor(model)
            self._prepared[key] = [prepared(row, processor, self.data.image_size) for row in self.splits[split]]
        return self._prepared[key]

    def training_rows(self, cell: Mapping[str, Any]) -> Any:
        """Give the training split with annotation on the fraction of the cell, drawn by its seed."""
        rows = self.rows(cell["model"], "train")
        if not isinstance(rows, list):
            return with_annotated_fraction(rows, cell["fraction"], cell["seed"])
        kept = set(annotated_indices(len(rows), cell["fraction"], cell["seed"]).tolist())
        return [{**row, ANNOTATED: index in kept} for index, row in enumerate(rows)]

    def new_model(self, model: str) -> Any:
        """Make a model from scratch, or from the checkpoint that ``pretrained`` names, with a new head."""
        return new_model(model, self.names, self.data)

    def collator(self, model: str, **options: Any) -> GuidanceCollator:
        """Make the collator of a kind of model.

        Args:
            model: "vanilla", "xdnn" or "bcos".
            options: More options of GuidanceCollator, as ``box_dilation``; ``source`` is that of the data if not given.

        Raises:
            ValueError: Options that do not go together, as a dilation of masks.
        """
        processor = None if self.data.in_memory else self.processor(model)
        return GuidanceCollator(processor, MULTI, len(self.names), **({"source": self.data.source} | options))

    def trainer(self, cell: Mapping[str, Any], model: Any, guidance: Guidance, folder: Path, epochs: int, rate: float,
                measured: Attribution | None) -> GuidedTrainer:  # fmt: skip
        """Make the trainer of one run: Adam at a fixed rate, evaluated after every epoch, as the paper.

        Args:
            cell: The cell of the run; decides the seed, the model's kind, and the boxes.
            model: The model to train.
            guidance: What guides it; empty for none.
            folder: Where the run may write.
            epochs: Epochs of training.
            rate: Learning rate.
            measured: Attribution whose grounding is measured in every evaluation; None measures none.

        Returns:
            The trainer, not started.
        """
        set_seed(cell["seed"])
        args = GuidanceArguments(
            output_dir=str(folder), seed=cell["seed"], num_train_epochs=epochs, learning_rate=rate,
            lr_scheduler_type="constant", weight_decay=0.0, max_grad_norm=self.data.max_grad_norm,
            per_device_train_batch_size=self.data.batch_size, per_device_eval_batch_size=_EVALUATION_BATCH,
            eval_strategy="epoch", save_strategy="no", logging_strategy="no", report_to="none", disable_tqdm=True,
            dataloader_pin_memory=torch.cuda.is_available(),
        )  # fmt: skip
        options = {"box_dilation": cell["dilation"], "control_seed": cell["seed"] if cell["moved"] else None}
        if self.data.crop < 1:
            options["transform"] = RandomCropAndFlip(self.data.image_size, scale=(self.data.crop, 1.0))
        grounding = (
            None if measured is None else Grounding(measured, metrics=("epg", "attribution_iou"), unannotated="zero")
        )  # over all positive classes, as the paper
        trainer = GuidedTrainer(
            model=model, args=args, guidance=guidance, grounding=grounding, train_dataset=self.training_rows(cell),
            eval_dataset=self.rows(cell["model"], "validation"), data_collator=self.collator(cell["model"], **options),
            processing_class=self.processor(cell["model"]), compute_metrics=classification_metrics(MULTI),
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        return trainer

    def scores(self, trainer: GuidedTrainer, cell: Mapping[str, Any], split: str, prefix: str) -> dict[str, float]:
        """Measure the model of a trainer.

        Args:
            trainer: From ``trainer``, with a measured attribution.
            cell: The cell of the run.
            split: "train", "validation" or "test".
            prefix: Put before each name.

        Returns:
            Name to score, each a share from 0 to 1: F1, mAP, EPG, IoU, the share of undefined EPG, and on-object EPG where
            ``segmentations`` asks for it.
        """
        found = trainer.predict(self.rows(cell["model"], split), metric_key_prefix="x").metrics
        scores = {f"{prefix}{name}": found[f"x_{name}"] for name in SCORES if f"x_{name}" in found}
        if self.data.segmentations:
            scores[f"{prefix}on_object_epg"] = self._on_object_epg(trainer, cell, split)
        return scores

    def _on_object_epg(self, trainer: GuidedTrainer, cell: Mapping[str, Any], split: str) -> float:
        """Of the positive attribution inside the boxes, the share on the object (appendix B.4), where rows have masks."""
        metric = evaluate.load(metric_path("on_object_epg"), keep_in_memory=True)
        method, model = attribution_of(cell), cell["model"]
        collators = [self.collator(model, source=source) for source in COLUMNS]
        rows = [row for row in self.rows(model, split) if row.get("mask") is not None]
        for first in range(0, len(rows), _EVALUATION_BATCH):
            part = rows[first : first + _EVALUATION_BATCH]
            boxes, masks = (trainer._prepare_inputs(collator(part)) for collator in collators)
            with torch.no_grad():
                forward = Forward(trainer.model.eval(), trainer.family, boxes, method.needs())
                maps = forward.attribution(method)
            maps = onto_image(maps, boxes[IMPORTANCE].shape[-2:], forward.seen(tuple(maps.shape[1:])))
            pairs = {"predictions": maps, "references": boxes[IMPORTANCE], "segmentations": masks[IMPORTANCE]}
            known = [box and mask for box, mask in zip(boxes[ANNOTATED], masks[ANNOTATED], strict=True)]
            metric.add_batch(**{name: value.cpu().numpy()[known] for name, value in pairs.items()})
        return float(metric.compute()["on_object_epg"])


def _three_splits(splits: Any, data: DataArguments) -> dict[str, Any]:
    """The training, validation and test split by these names, whatever the data call them."""
    if not data.validation_split:
        parts = splits[data.train_split].train_test_split(0.2, seed=0)
        splits = {**splits, data.train_split: parts["train"], "validation": parts["test"]}
    wanted = {"train": data.train_split, "validation": data.validation_split or "validation", "test": data.test_split}
    if missing := [split for split in wanted.values() if split not in splits]:
        raise ValueError(f"{data.dataset} has no split {missing[0]!r}; it has {sorted(splits)}.")
    return {name: splits[split] for name, split in wanted.items()}

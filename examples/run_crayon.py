"""CRAYON on a data set of this library, from the maps of a trained classifier to a corrected one, in three calls.

1. Write the maps and patches about which people are asked (resumed where it was stopped):

    python examples/run_crayon.py --step maps --model_name_or_path runs/original --asked runs/asked \
        --dataset waterbirds --data_dir waterbird_complete95_forest2water2 --output_dir runs/maps

2. Ask people (docs/annotating.md) by the two commands that it prints, or take answers that somebody published: a JSON list of
   "yes", "no" and "maybe" for maps (--answers), of true and false for channels (--neurons). Answers about patches are
   counted with --patch_answers.

3. Correct the model by answers about maps, about channels, or both:

    python examples/run_crayon.py --step attention --model_name_or_path runs/original --asked runs/asked \
        --answers answers.json --settings waterbirds --dataset waterbirds --data_dir ... --output_dir runs/corrected

Another model than the one that made the maps can be corrected by them, too: give its folder in the third call (transfer).
--alpha 0 or --beta 0 leaves out what was answered yes or no; --number_of_answers 480 forgets all answers but those.
"""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import HfArgumentParser, set_seed

from hf_guidance import Grounding, Guidance, GuidanceArguments, GuidanceCollator, GuidedTrainer, recipes
from hf_guidance.apps.annotation import write_annotation_folder, write_patch_folder
from hf_guidance.apps.cli.tasks.data import splits_named
from hf_guidance.attributions import GradCAM, PredictedLogit
from hf_guidance.common.weights_digest import weights_digest
from hf_guidance.data import (
    SavedMaps,
    YesNoCollator,
    answer_counts,
    read_answers,
    sampled_answers,
    with_answers,
)
from hf_guidance.data.images.class_names import class_names
from hf_guidance.evaluation import extract_maps
from hf_guidance.evaluation.classification import classification_metrics
from hf_guidance.evaluation.patches import PatchTable, top_patches
from hf_guidance.models.shared.image_classifier import image_classifier
from hf_guidance.recipes import CRAYON_SETTINGS
from hf_guidance.training.pruning import (
    HeadTraining,
    fine_tune_head,
    neuron_votes,
    pooled_features,
    prune_channels,
    pruning_settings,
    read_neurons,
)

STEPS = ("maps", "attention", "pruning", "both")


@dataclass
class CrayonArguments:
    step: str = field(metadata={"help": "maps, attention, pruning, or both.", "choices": STEPS})
    model_name_or_path: str = field(metadata={"help": "The trained classifier: a folder or Hub id."})
    asked: str = field(metadata={"help": "Folder of the maps and patches.json; the first step makes it."})
    answers: str | None = field(default=None, metadata={"help": "JSON list of answers about the maps."})
    neurons: str | None = field(default=None, metadata={"help": "JSON list: true for channels that stay."})
    patch_answers: str | None = field(default=None, metadata={"help": "In place of --neurons: answers about patches."})
    settings: str | None = field(
        default=None, metadata={"help": f"Values of the paper for one of {', '.join(CRAYON_SETTINGS)}."}
    )
    alpha: float | None = field(default=None, metadata={"help": "Weight of maps answered yes, over their number."})
    beta: float | None = field(default=None, metadata={"help": "Weight of maps answered no, over their number."})
    normalize: str | None = field(default=None, metadata={"help": "none or mass: the form of the losses."})
    number_of_answers: int | None = field(default=None, metadata={"help": "Use only so many answers, drawn by --seed."})
    dataset: str = field(default="digits_on_photos", metadata={"help": "A builder's name, a folder, or a Hub id."})
    data_dir: str | None = field(default=None, metadata={"help": "Raw files of the builder."})
    builder_config: str = field(default="{}", metadata={"help": "JSON with options of the builder."})
    train_split: str = field(default="train", metadata={"help": "Split that people were asked about."})
    eval_split: str = field(default="test", metadata={"help": "Split that is evaluated before and after."})


class Run:
    """One call: the model, the data, and the steps."""

    def __init__(self, options: CrayonArguments, args: GuidanceArguments) -> None:
        set_seed(args.seed)
        self.options, self.args = options, args
        names = (options.train_split, options.eval_split)
        splits = splits_named(options.dataset, names, options.data_dir, options.builder_config)
        self.train, self.test = splits[options.train_split], splits[options.eval_split]
        classes = class_names(self.train, options.train_split)
        self.model, self.processor = image_classifier(
            options.model_name_or_path, classes, "single_label_classification"
        )  # with its channel mask, where it has one
        self.classes = len(classes)
        settings = CRAYON_SETTINGS.get(options.settings or "")
        self.method = GradCAM(target=PredictedLogit()) if settings and settings.predicted else GradCAM()

    def maps(self) -> None:
        """Write maps and patches."""
        folder = Path(self.options.asked)
        maps = extract_maps(self.model, self.train, folder, self.processor, attribution=self.method)
        table = top_patches(self.model, self._batches())
        table.save(folder / "patches.json")
        write_annotation_folder(self.train, maps, folder / "ask_maps", processor=self.processor)
        write_patch_folder(self.train, table.to_items(), folder / "ask_patches", processor=self.processor)
        print(f"{len(maps)} maps of {maps.shape}, {len(table.unique())} patches; now ask people:")
        print(f"hf-guidance annotate {folder / 'ask_maps'}\nhf-guidance annotate {folder / 'ask_patches'}")

    def attention(self) -> GuidedTrainer:
        """Train with the answered maps."""
        options, maps = self.options, SavedMaps.from_folder(self.options.asked)
        answers = read_answers(_given(options.answers, "answers", options.step))
        if options.number_of_answers is not None:
            answers = sampled_answers(answers, options.number_of_answers, self.args.seed)
        counts = answer_counts(answers)
        print(f"answers: {counts}")
        guidance = recipes.crayon(
            counts.relevant, counts.irrelevant, options.settings, alpha=options.alpha, beta=options.beta,
            normalize=options.normalize, attribution=self.method,
        )  # fmt: skip
        rows, collator = with_answers(self.train, maps, answers), YesNoCollator(self.processor, num_labels=self.classes)
        trainer = self._trainer(guidance, collator, rows)
        self._report("before", trainer)
        trainer.train(resume_from_checkpoint=self.args.resume_from_checkpoint)
        return trainer

    def prune(self, fine_tune: bool) -> None:
        """Prune what people called irrelevant; alone, also train the last layer."""
        options = self.options
        keep = self._kept()
        prune_channels(self.model, keep)
        print(f"{int((~keep).sum())} of {len(keep)} channels pruned")
        if fine_tune:
            own = HeadTraining(
                self.args.learning_rate, epochs=int(self.args.num_train_epochs), seed=self.args.seed,
                batch_size=self.args.per_device_train_batch_size, weight_decay=self.args.weight_decay,
            )  # fmt: skip
            how = pruning_settings(options.settings) if options.settings else own
            for row in fine_tune_head(self.model, pooled_features(self.model, self._batches()), how):
                print(json.dumps(row))

    def _kept(self) -> torch.Tensor:
        if self.options.patch_answers is None:
            return read_neurons(_given(self.options.neurons, "neurons", self.options.step))
        table = PatchTable.load(Path(self.options.asked) / "patches.json")
        table.check(weights_digest(self.model))
        return neuron_votes(table, zip(table.unique(), read_answers(self.options.patch_answers), strict=True))

    def __call__(self) -> None:
        """Do what --step says, measure, and save."""
        if self.options.step == "maps":
            return self.maps()
        if self.options.step != "attention":
            self._report("before", self._trainer(Guidance(), self._plain(), self.train))
            self.prune(fine_tune=self.options.step == "pruning")
        trained = self.options.step != "pruning"
        trainer = self.attention() if trained else self._trainer(Guidance(), self._plain(), self.train)
        self._report("after", trainer)
        trainer.save_model()

    def _trainer(self, guidance: Guidance, collator: Any, rows: Any) -> GuidedTrainer:
        settings = CRAYON_SETTINGS.get(self.options.settings or "")
        given = {}
        if settings:  # Adam with its own weight decay is no choice of TrainingArguments
            momentum = {"momentum": 0.9} if settings.optimizer == "SGD" else {}
            values = {"lr": self.args.learning_rate, "weight_decay": self.args.weight_decay, **momentum}
            given["optimizer_cls_and_kwargs"] = (getattr(torch.optim, settings.optimizer), values)
        has_objects = any(name in self.test.column_names for name in ("objects", "mask", "importance"))
        group = "group" if "group" in self.test.column_names else None
        return GuidedTrainer(
            model=self.model, args=self.args, train_dataset=rows, eval_dataset=self.test, data_collator=collator,
            processing_class=self.processor, guidance=guidance,
            grounding=Grounding(GradCAM(), metrics=("epg",)) if has_objects else None,
            compute_metrics=classification_metrics("single_label_classification", group=group), **given,
        )  # fmt: skip

    def _report(self, when: str, trainer: GuidedTrainer) -> None:
        found = {name: value for name, value in trainer.evaluate().items() if isinstance(value, float)}
        trainer.save_metrics(when, found, combined=False)
        kept = {name.removeprefix("eval_"): round(value, 4) for name, value in found.items() if "_per_" not in name}
        print(f"{when}: {kept}")

    def _plain(self) -> GuidanceCollator:
        return GuidanceCollator(self.processor, num_labels=self.classes)

    def _batches(self) -> Any:
        size = self.args.per_device_eval_batch_size
        return torch.utils.data.DataLoader(self.train, size, collate_fn=self._plain().for_evaluation())


def _given(value: str | None, name: str, step: str) -> str:
    if value is None:
        raise ValueError(
            f"--step {step} reads --{name}, a JSON file; give it (docs/annotating.md says how to ask people)."
        )
    return value


def main() -> None:
    parser = HfArgumentParser((CrayonArguments, GuidanceArguments))
    known, _ = parser.parse_known_args()
    if known.settings in CRAYON_SETTINGS:  # options that are given win
        parser.set_defaults(**CRAYON_SETTINGS[known.settings].arguments)
    try:
        Run(*parser.parse_args_into_dataclasses())()
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

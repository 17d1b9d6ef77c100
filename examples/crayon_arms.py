"""Ways to correct a model that looks at the background: CRAYON by simulated annotators, and what it is compared with.

Used by demo_crayon.py and by tests/studies/crayon_nuts.py. Every arm starts from the original model and is trained as long.
"""

import copy
import os
import tempfile
from dataclasses import dataclass, field
from typing import Any

from workers import follow, say

# isort: split
import numpy as np
import torch
from simulated_annotator import JUDGES, answers_about_maps, answers_about_patches, important_boxes
from torch.utils.data import DataLoader
from transformers import set_seed

from hf_guidance import Grounding, Guidance, GuidanceArguments, GuidanceCollator, GuidedTrainer, Term, recipes
from hf_guidance.attributions import GradCAM
from hf_guidance.data import YesNoCollator, answer_counts, with_answers, with_quadrants
from hf_guidance.evaluation import extract_maps
from hf_guidance.evaluation.classification import classification_metrics
from hf_guidance.evaluation.patches import top_patches
from hf_guidance.objectives import Energy
from hf_guidance.training.baselines import DFR, ERM, BaselineTrainer, JtT
from hf_guidance.training.pruning import HeadTraining, fine_tune_head, neuron_votes, pooled_features, prune_channels

METRICS = ("accuracy", "worst_group_accuracy", "mean_group_accuracy", "epg")


@dataclass
class ArmOptions:
    seeds: int = field(default=3, metadata={"help": "Number of seeds; each draws data, weights and answers anew."})
    alpha: float = field(default=400.0, metadata={"help": "Weight of maps answered yes, over their number."})
    beta: float = field(default=400.0, metadata={"help": "Weight of maps answered no, over their number."})
    box_weight: float = field(default=2.0, metadata={"help": "Weight of Energy, a mean over a batch."})
    epochs: int = field(default=4, metadata={"help": "Epochs of the original model and of every arm."})
    learning_rate: float = field(default=1e-4, metadata={"help": "Of Adam with decoupled decay, constant."})
    head_rate: float = field(default=1e-3, metadata={"help": "Learning rate of the last layer of pruned models."})
    annotators: int = field(default=2, metadata={"help": "Simulated annotators that are asked about each map."})
    noise: float = field(default=0.1, metadata={"help": "Share of the answers that are wrong, of each annotator."})
    judge: str = field(
        default="energy", metadata={"help": "What of a map must lie on the object for a yes.", "choices": JUDGES}
    )
    batch_size: int = field(default=64, metadata={"help": "Images a step."})


class Arms:
    """One seed: the data, the original model, its maps, the answers about them, and what is trained by them.

    Args:
        seed: Of everything that is drawn.
        options: Weights and lengths.
        processor: The image processor of the models.
        data: "train" and "test" rows with one object each, and "held_out" rows with groups, for DFR.
        side: Height and width of the processed images.
    """

    def __init__(self, seed: int, options: ArmOptions, processor: Any, data: dict[str, Any], side: int) -> None:
        self.seed, self.options, self.processor, self.side = seed, options, processor, side
        self.data = data | {"test": with_quadrants(data["test"])}  # GRADIA's terms are measured, too
        self.random = np.random.default_rng(seed)
        self.original: Any = None

    def begin(self, model: Any, folder: str) -> None:
        """Train the original model, write its maps, and ask about them."""
        self.original = self.guided(model, Guidance())
        train = self.data["train"]
        self.maps = extract_maps(self.original.model, train, folder, self.processor, batch_size=100)
        stored, options = self.maps.taken(range(len(self.maps))), self.options
        important = important_boxes(train, self.side)
        self.answers = answers_about_maps(
            stored, important, options.annotators, options.noise, self.random, options.judge
        )
        say(f"seed {self.seed} {answer_counts(self.answers)}")

    def copy(self) -> Any:
        """The original model, to be changed."""
        return copy.deepcopy(self.original.model)

    def fit(self, kind: type, model: Any, rows: Any, collator: Any, epochs: int | None = None, **given: Any) -> Any:
        """Train a model; the trainer also measures it."""
        set_seed(self.seed)
        args = GuidanceArguments(
            output_dir=os.path.join(tempfile.gettempdir(), "hf_guidance_crayon"), seed=self.seed,
            num_train_epochs=self.options.epochs if epochs is None else epochs,
            learning_rate=self.options.learning_rate, lr_scheduler_type="constant",
            per_device_train_batch_size=self.options.batch_size, per_device_eval_batch_size=100,
            save_strategy="no", report_to="none", logging_strategy="no", disable_tqdm=True,
            dataloader_pin_memory=torch.cuda.is_available(),
        )  # fmt: skip
        trainer = kind(
            model=model, args=args, train_dataset=rows, processing_class=self.processor, data_collator=collator,
            grounding=Grounding(GradCAM(), metrics=("epg",)),
            compute_metrics=classification_metrics("single_label_classification", group="group"), **given,
        )  # fmt: skip
        follow(trainer)
        trainer.train()
        return trainer

    def boxes(self) -> GuidanceCollator:
        """The collator of rows without answers."""
        return GuidanceCollator(self.processor, num_labels=2, source="boxes")

    def guided(self, model: Any, guidance: Guidance, rows: Any = None) -> GuidedTrainer:
        """Train with a guidance that reads boxes, or with none."""
        return self.fit(
            GuidedTrainer, model, self.data["train"] if rows is None else rows, self.boxes(), guidance=guidance
        )

    def method(self, method: Any, rows: Any = None, model: Any = None, epochs: int | None = None) -> BaselineTrainer:
        """Train a model by a compared method; a copy of the original one if none is given."""
        rows, model = self.data["train"] if rows is None else rows, self.copy() if model is None else model
        return self.fit(BaselineTrainer, model, rows, self.boxes(), epochs, method=method)

    def attention(self, model: Any, answers: Any) -> GuidedTrainer:
        """CRAYON-Attention: train a model with the maps and some answers."""
        counts, options = answer_counts(answers), self.options
        guidance = recipes.crayon(counts.relevant, counts.irrelevant, alpha=options.alpha, beta=options.beta)
        rows = with_answers(self.data["train"], self.maps, answers)
        collator = YesNoCollator(self.processor, num_labels=2, source="boxes")
        return self.fit(GuidedTrainer, model, rows, collator, guidance=guidance)

    def batches(self, rows: Any) -> DataLoader[Any]:
        return DataLoader(rows, 100, collate_fn=self.boxes().for_evaluation())

    def keep(self) -> torch.Tensor:
        """Which channels stay, by answers about the patches of the original model."""
        table = top_patches(self.original.model, self.batches(self.data["train"]))
        options, rows = self.options, self.data["train"]
        keep = neuron_votes(
            table, answers_about_patches(table, rows, self.side, options.annotators, options.noise, self.random)
        )
        say(f"seed {self.seed} {int((~keep).sum())} of {len(keep)} channels pruned")
        return keep

    def pruned(self, keep: torch.Tensor) -> Any:
        """The original model without the channels that look elsewhere."""
        model = self.copy()
        prune_channels(model, keep)
        return model

    def pruning(self, keep: torch.Tensor) -> BaselineTrainer:
        """CRAYON-Pruning: prune, and train the last layer from features computed once."""
        model = self.pruned(keep)
        features = pooled_features(model, self.batches(self.data["train"]))
        rate, epochs, size = self.options.head_rate, self.options.epochs, self.options.batch_size
        fine_tune_head(model, features, HeadTraining(rate, "adam", epochs=epochs, batch_size=size, seed=self.seed))
        return self.method(ERM(), model=model, epochs=0)  # only measures

    def gradia(self) -> GuidedTrainer:
        """GRADIA with boxes as attention labels, weighted by the answers and the first predictions."""
        answered = with_answers(self.data["train"], self.maps, self.answers)
        said = self.original.predict(self.data["train"]).predictions.argmax(1)
        rows = with_quadrants(answered, said).remove_columns(["saved_map", "answer"])
        return self.guided(self.copy(), recipes.gradia(), rows)

    def box_energy(self) -> GuidedTrainer:
        """Energy of Grad-CAM in the boxes of all rows."""
        energy = Term(Energy(GradCAM()), self.options.box_weight, reduction="rows")
        return self.guided(self.copy(), Guidance(energy=energy))

    def by_coin(self) -> list[str]:
        """Yes or no for each map by a coin: the control."""
        return [("no", "yes")[side] for side in self.random.integers(0, 2, len(self.answers))]

    def shuffled(self) -> list[str]:
        """The same answers, each to another map; where nearly all are no, most are right all the same."""
        return [self.answers[index] for index in self.random.permutation(len(self.answers))]

    def trained(self) -> dict[str, Any]:
        """Arm to the trainer of its model, in the order of tables."""
        keep = self.keep()
        return {
            "original": self.original,
            "attention": self.attention(self.copy(), self.answers),
            "pruning": self.pruning(keep),
            "both": self.attention(self.pruned(keep), self.answers),
            "erm": self.method(ERM()),
            "jtt": self.method(JtT(copies=20)),
            "dfr": self.method(DFR(), self.data["held_out"]),
            "gradia": self.gradia(),
            "box_energy": self.box_energy(),
            "random_answers": self.attention(self.copy(), self.by_coin()),
            "shuffled_answers": self.attention(self.copy(), self.shuffled()),
        }

    def measured(self, trainer: Any) -> dict[str, float]:
        """Accuracies and EPG on the test rows."""
        found = trainer.predict(self.data["test"], metric_key_prefix="test").metrics
        return {name: float(found[f"test_{name}"]) for name in METRICS}


def means(runs: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation over seeds, by measure."""
    values = {name: [run[name] for run in runs] for name in METRICS}
    return {name: {"mean": float(np.mean(each)), "std": float(np.std(each))} for name, each in values.items()}


def print_table(table: dict[str, dict[str, dict[str, float]]]) -> None:
    print(f"\n{'':21s}" + "".join(f"{name:>22s}" for name in METRICS))
    for arm, row in table.items():
        print(f"{arm:21s}" + "".join(f"{row[n]['mean']:>14.3f} ± {row[n]['std']:.3f}" for n in METRICS))

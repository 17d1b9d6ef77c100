"""CRAYON in miniature: a model that looks at the background is corrected by yes and no, and compared with other methods.

A small ResNet learns ten digits on backgrounds that tell nothing. Then {0, 6, 8} against {1, 4, 7} is learned, where in
training the background tells the answer for 95 % of the images: this is the original model. Two simulated annotators, who
are wrong in one of ten cases, say of its maps and patches whether they lie on the digit (simulated_annotator.py). Every other
arm starts from the original model and is trained as long.

Writes runs/demo-crayon/results.json, attributions.png (before and after) and attention/ (the model), and prints the table.
"""

import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workers import draw_no_bars, follow, map_seeds, say

# isort: split
import numpy as np
import torch
from demo import SIDE, build_model, learn_digits, load, panel
from simulated_annotator import answers_about_maps, answers_about_patches
from torch.utils.data import DataLoader
from transformers import ConvNextConfig, ConvNextForImageClassification, HfArgumentParser, ViTImageProcessor, set_seed

from hf_guidance import Grounding, Guidance, GuidanceArguments, GuidanceCollator, GuidedTrainer, Term, recipes
from hf_guidance.attributions import GradCAM
from hf_guidance.data import SavedMaps, YesNoCollator, answer_counts, sampled_answers, with_answers
from hf_guidance.data.images.quadrants import with_quadrants
from hf_guidance.evaluation import extract_maps
from hf_guidance.evaluation.classification import classification_metrics
from hf_guidance.evaluation.figures import panel_figure, save_figure
from hf_guidance.evaluation.patches import top_patches
from hf_guidance.objectives import Energy
from hf_guidance.training.baselines import DFR, ERM, BaselineTrainer, JtT
from hf_guidance.training.pruning import HeadTraining, fine_tune_head, neuron_votes, pooled_features, prune_channels

METRICS = ("accuracy", "worst_group_accuracy", "mean_group_accuracy", "epg")
ANNOTATORS, NOISE = 2, 0.1


@dataclass
class CrayonDemoArguments:
    output_dir: str = field(default="runs/demo-crayon", metadata={"help": "Where results, picture and model go."})
    seeds: int = field(default=3, metadata={"help": "Number of seeds; each draws data, weights and answers anew."})
    alpha: float = field(default=100.0, metadata={"help": "Weight of maps answered yes, over their number."})
    beta: float = field(default=600.0, metadata={"help": "Weight of maps answered no, over their number."})
    epochs: int = field(default=5, metadata={"help": "Epochs of the original model and of every arm."})
    pretrain_epochs: int = field(default=6, metadata={"help": "Epochs on ten digits on unbiased backgrounds."})


class Seed:
    """What all arms of one seed share: data, the original model, its maps and the answers about them."""

    def __init__(self, seed: int, options: CrayonDemoArguments) -> None:
        set_seed(seed)
        self.seed, self.options = seed, options
        self.processor = ViTImageProcessor(size={"height": SIDE, "width": SIDE})
        self.data = load(correlation=0.95, seed=seed)
        self.held_out = load(train_size=400, seed=seed)["train"]  # as many rows of every group, for DFR alone
        self.start = learn_digits(self.processor, seed, options.pretrain_epochs)
        self.original = self.fit(GuidedTrainer, self.digits_model(), self.data["train"], guidance=Guidance())
        self.random = np.random.default_rng(seed)

    def digits_model(self) -> Any:
        model = build_model(self.data)
        model.load_state_dict(self.start, strict=False)
        return model

    def copy(self) -> Any:
        """The original model, to be changed."""
        model = build_model(self.data)
        model.load_state_dict(self.original.model.state_dict())
        return model

    def fit(self, kind: type, model: Any, rows: Any, collator: Any = None, rate: float = 1e-4, **given: Any) -> Any:
        """Train a model; the trainer also measures it."""
        set_seed(self.seed)
        args = GuidanceArguments(
            output_dir=os.path.join(tempfile.gettempdir(), "hf_guidance_demo_crayon"), seed=self.seed,
            num_train_epochs=self.options.epochs, learning_rate=rate, lr_scheduler_type="constant",
            per_device_train_batch_size=64, per_device_eval_batch_size=100, save_strategy="no", report_to="none",
            logging_strategy="no", disable_tqdm=True, dataloader_pin_memory=torch.cuda.is_available(),
        )  # fmt: skip
        trainer = kind(
            model=model, args=args, train_dataset=rows, processing_class=self.processor,
            data_collator=GuidanceCollator(self.processor, num_labels=2, source="boxes") if collator is None else collator,
            grounding=Grounding(GradCAM(), metrics=("epg",)),
            compute_metrics=classification_metrics("single_label_classification", group="group"), **given,
        )  # fmt: skip
        follow(trainer)
        trainer.train()
        return trainer

    def measured(self, trainer: Any) -> dict[str, float]:
        found = trainer.predict(self.data["test"], metric_key_prefix="test").metrics
        return {name: found[f"test_{name}"] for name in METRICS}

    def ask(self, folder: str) -> None:
        """Write the original model's maps, and ask about them."""
        train = self.data["train"]
        self.maps = extract_maps(self.original.model, train, folder, self.processor, batch_size=100)
        stored = self.maps.taken(range(len(self.maps)))
        self.answers = answers_about_maps(stored, train, SIDE, ANNOTATORS, NOISE, self.random)
        say(f"seed {self.seed} {answer_counts(self.answers)}")

    def attention(self, model: Any, answers: Any) -> Any:
        """CRAYON-Attention: train a model with the maps and some answers."""
        counts, options = answer_counts(answers), self.options
        guidance = recipes.crayon(counts.relevant, counts.irrelevant, alpha=options.alpha, beta=options.beta)
        rows = with_answers(self.data["train"], self.maps, answers)
        collator = YesNoCollator(self.processor, num_labels=2, source="boxes")
        return self.fit(GuidedTrainer, model, rows, collator, guidance=guidance)

    def batches(self, rows: Any) -> DataLoader[Any]:
        collator = GuidanceCollator(self.processor, num_labels=2, source="boxes").for_evaluation()
        return DataLoader(rows, 100, collate_fn=collator)

    def pruned(self) -> Any:
        """CRAYON-Pruning, its first half: the original model without the channels that look elsewhere."""
        model, train = self.copy(), self.data["train"]
        table = top_patches(model, self.batches(train))
        answers = answers_about_patches(table, train, ANNOTATORS, NOISE, self.random)
        keep = neuron_votes(table, answers)
        say(f"seed {self.seed} {int((~keep).sum())} of {len(keep)} channels pruned")
        prune_channels(model, keep)
        return model


def trained_arms(shared: Seed) -> dict[str, Any]:
    """Arm to the trainer of its model, in the order of the table."""
    train, options = shared.data["train"], shared.options
    arms = {"original": shared.original, "attention": shared.attention(shared.copy(), shared.answers)}
    model = shared.pruned()
    features = pooled_features(model, shared.batches(train))
    fine_tune_head(model, features, HeadTraining(1e-4, "adam", epochs=options.epochs, batch_size=64, seed=shared.seed))
    arms["pruning"] = untrained(shared, model)
    arms["both"] = shared.attention(shared.pruned(), shared.answers)
    arms["erm"] = shared.fit(BaselineTrainer, shared.copy(), train, method=ERM())
    arms["jtt"] = shared.fit(BaselineTrainer, shared.copy(), train, method=JtT(copies=20))
    arms["dfr"] = shared.fit(BaselineTrainer, shared.copy(), shared.held_out, method=DFR())
    answered = with_answers(train, shared.maps, shared.answers)
    said = shared.original.predict(train).predictions.argmax(1)
    arms["gradia"] = shared.fit(
        GuidedTrainer, shared.copy(), with_quadrants(answered, said).remove_columns(["saved_map", "answer"]),
        guidance=recipes.gradia(),
    )  # fmt: skip
    boxes = Guidance(energy=Term(Energy(GradCAM()), 2.0, reduction="rows"))
    arms["box_energy"] = shared.fit(GuidedTrainer, shared.copy(), train, guidance=boxes)
    dealt = [shared.answers[index] for index in shared.random.permutation(len(shared.answers))]
    arms["random_answers"] = shared.attention(shared.copy(), dealt)
    few = sampled_answers(shared.answers, len(shared.answers) // 10, shared.seed)
    arms["attention_10_percent"] = shared.attention(shared.copy(), few)
    other = shared.fit(GuidedTrainer, convnext(shared.data), train, rate=1e-3, guidance=Guidance())
    arms["convnext"] = other
    arms["convnext_transfer"] = shared.attention(copy_of(other.model), shared.answers)
    return arms


def untrained(shared: Seed, model: Any) -> Any:
    """A trainer that only measures."""
    epochs, shared.options.epochs = shared.options.epochs, 0
    try:
        return shared.fit(GuidedTrainer, model, shared.data["train"], guidance=Guidance())
    finally:
        shared.options.epochs = epochs

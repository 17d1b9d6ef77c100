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
from demo import SIDE, build_model, draw, learn_digits, load
from simulated_annotator import answers_about_maps, answers_about_patches
from torch.utils.data import DataLoader
from transformers import ConvNextConfig, ConvNextForImageClassification, HfArgumentParser, ViTImageProcessor, set_seed

from hf_guidance import Grounding, Guidance, GuidanceArguments, GuidanceCollator, GuidedTrainer, Term, recipes
from hf_guidance.attributions import GradCAM
from hf_guidance.data import YesNoCollator, answer_counts, sampled_answers, with_answers
from hf_guidance.data.images.quadrants import with_quadrants
from hf_guidance.evaluation import extract_maps
from hf_guidance.evaluation.classification import classification_metrics
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

    def convnext_start(self) -> Any:
        """As ``digits_model``, of the other architecture."""
        model = convnext(self.data)
        start = learn_digits(self.processor, self.seed, self.options.pretrain_epochs, convnext)
        model.load_state_dict(start, strict=False)
        return model

    def copy(self) -> Any:
        """The original model, to be changed."""
        model = build_model(self.data)
        model.load_state_dict(self.original.model.state_dict())
        return model

    def fit(
        self, kind: type, model: Any, rows: Any, collator: Any = None, epochs: int | None = None, **given: Any
    ) -> Any:
        """Train a model; the trainer also measures it."""
        set_seed(self.seed)
        args = GuidanceArguments(
            output_dir=os.path.join(tempfile.gettempdir(), "hf_guidance_demo_crayon"), seed=self.seed,
            num_train_epochs=self.options.epochs if epochs is None else epochs,
            learning_rate=1e-4, lr_scheduler_type="constant",
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


def convnext(data: Any) -> Any:
    """A small ConvNeXt with other maps (4 x 4), for the transfer of answers."""
    names = data["train"].features["labels"].feature.names
    config = ConvNextConfig(hidden_sizes=[32, 64, 128], depths=[1, 1, 1], num_stages=3, num_labels=len(names))
    return ConvNextForImageClassification(config)


def trained_arms(shared: Seed) -> dict[str, Any]:
    """Arm to the trainer of its model, in the order of the table."""
    train, options = shared.data["train"], shared.options
    arms = {"original": shared.original, "attention": shared.attention(shared.copy(), shared.answers)}
    model = shared.pruned()
    features = pooled_features(model, shared.batches(train))
    fine_tune_head(model, features, HeadTraining(1e-3, "adam", epochs=options.epochs, batch_size=64, seed=shared.seed))
    arms["pruning"] = shared.fit(BaselineTrainer, model, train, method=ERM(), epochs=0)  # only measures
    arms["both"] = shared.attention(shared.pruned(), shared.answers)
    arms["erm"] = shared.fit(BaselineTrainer, shared.copy(), train, method=ERM())
    arms["jtt"] = shared.fit(BaselineTrainer, shared.copy(), train, method=JtT(copies=20))
    arms["dfr"] = shared.fit(BaselineTrainer, shared.copy(), shared.held_out, method=DFR())
    answered = with_answers(train, shared.maps, shared.answers)
    judged = with_quadrants(answered, shared.original.predict(train).predictions.argmax(1))
    judged = judged.remove_columns(["saved_map", "answer"])
    arms["gradia"] = shared.fit(GuidedTrainer, shared.copy(), judged, guidance=recipes.gradia())
    boxes = Guidance(energy=Term(Energy(GradCAM()), 2.0, reduction="rows"))
    arms["box_energy"] = shared.fit(GuidedTrainer, shared.copy(), train, guidance=boxes)
    dealt = [shared.answers[index] for index in shared.random.permutation(len(shared.answers))]
    arms["random_answers"] = shared.attention(shared.copy(), dealt)
    few = sampled_answers(shared.answers, len(shared.answers) // 10, shared.seed)
    arms["attention_10_percent"] = shared.attention(shared.copy(), few)
    arms["convnext"] = shared.fit(GuidedTrainer, shared.convnext_start(), train, guidance=Guidance())
    transferred = convnext(shared.data)
    transferred.load_state_dict(arms["convnext"].model.state_dict())
    arms["convnext_transfer"] = shared.attention(transferred, shared.answers)
    return arms


def one_seed(seed: int, options: CrayonDemoArguments) -> dict[str, dict[str, float]]:
    """All arms of one seed, by arm the measures; the first seed also leaves the picture and the corrected model."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // min(options.seeds, os.cpu_count() or 1)))
    draw_no_bars()
    shared = Seed(seed, options)
    with tempfile.TemporaryDirectory() as folder:
        shared.ask(folder)
        arms = trained_arms(shared)
        results = {}
        for arm, trainer in arms.items():
            results[arm] = shared.measured(trainer)
            say(f"seed {seed} {arm:21s} { {name: round(value, 3) for name, value in results[arm].items()} }")
        if seed == 0:
            picture = {"test": shared.data["test"]}
            for arm in ("original", "attention"):
                picture[arm] = (arms[arm], results[arm], right(arms[arm], shared.data["test"]))
            draw(picture, Path(options.output_dir) / "attributions.png", ("original", "attention"))
            arms["attention"].save_model(str(Path(options.output_dir) / "attention"))
    return results


def right(trainer: Any, rows: Any) -> np.ndarray:
    output = trainer.predict(rows)
    return output.predictions.argmax(-1) == output.label_ids


def main() -> None:
    (options,) = HfArgumentParser(CrayonDemoArguments).parse_args_into_dataclasses()
    started, folder = time.time(), Path(options.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    workers = min(options.seeds, os.cpu_count() or 1)
    runs_of_seeds = map_seeds(one_seed, range(options.seeds), options, runs=13, workers=workers)
    table = {arm: statistics([runs[arm] for runs in runs_of_seeds]) for arm in runs_of_seeds[0]}
    partial = folder / "results.json.partial"
    partial.write_text(json.dumps(table, indent=2) + "\n")
    os.replace(partial, folder / "results.json")
    print(f"\n{'':21s}" + "".join(f"{name:>22s}" for name in METRICS))
    for arm, row in table.items():
        print(f"{arm:21s}" + "".join(f"{row[n]['mean']:>14.3f} ± {row[n]['std']:.3f}" for n in METRICS))
    print(f"{options.seeds} seeds, {time.time() - started:.0f} s; written to {folder}", file=sys.stderr)


def statistics(runs: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    values = {name: [run[name] for run in runs] for name in METRICS}
    return {name: {"mean": float(np.mean(each)), "std": float(np.std(each))} for name, each in values.items()}


if __name__ == "__main__":
    main()

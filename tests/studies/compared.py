"""Other models, and the adversary: UpDn, Pythia and SAN, unguided, against a question-only adversary, by HINT and by VisFIS.

The protocol, the weight of HINT and the form and weights of VisFIS are the demo's, chosen for UpDn. Pythia and SAN have the
sizes that the command line gives them (``SMALL``), and answers by softmax as UpDn. WEIGHTS of the adversary were chosen on
the dev split of seed 100, which the table does not use (``--study adversary_weights --first_seed 100 --seeds 1``).
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from studies.questions_common import OPTIONS, Table, demo, run_arm
from torch.utils.data import DataLoader

from hf_guidance import Guidance, recipes
from hf_guidance.models.shared.question_answerer import question_answerer

NAMES = {"updn": "UpDn", "pythia": "Pythia", "san": "SAN"}
ADVERSARY_SIZE = 64
GRID = [(weight, entropy) for weight in (0.01, 0.1, 1.0) for entropy in (0.0, weight)]
WEIGHTS = {
    "updn": {"adversary": (0.01, 0.01), "adversary alone": (0.1, 0.0)},
    "pythia": {"adversary": (0.1, 0.1), "adversary alone": (0.1, 0.0)},
}
"""Model type to arms, and their weights of the adversary and of the entropies."""
COLUMNS = ("id_accuracy", "ood_accuracy", "rrr_suff", "plausible_grad", "adversary_id")


def model_maker(model_type: str, adversary: bool) -> Callable[..., Any]:
    """What ``demo.train`` calls for a model."""
    fields = {"answer_loss": "softmax", **({"question_adversary_size": ADVERSARY_SIZE} if adversary else {})}
    return partial(_make, model_type, fields)


def _make(model_type: str, fields: dict[str, Any], words: int, box_dims: int, answers: Any, _options: Any) -> Any:
    return question_answerer(model_type, answers.id2label, vocabulary=words, box_dims=box_dims, fields=fields)


def arms() -> dict[str, tuple[str, Guidance]]:
    """Name to the type of the model and its guidance; what the other tables of the page do not have comes first."""
    guided, adversarial = demo.guidances(OPTIONS), recipes.adversarial_regularization
    found = {}
    for kind, chosen in WEIGHTS.items():
        found[f"{NAMES[kind]} unguided"] = (kind, guided["unguided"])
        found |= {f"{NAMES[kind]} {arm}": (kind, adversarial(*weights)) for arm, weights in chosen.items()}
    found["SAN unguided"] = ("san", guided["unguided"])
    for arm, name in (("visfis", "VisFIS"), ("hint", "HINT")):
        found |= {f"{NAMES[kind]} {name}": (kind, guided[arm]) for kind in ("san", "pythia", "updn")}
    return found


def adversary_accuracy(trainer: Any, splits: Any, split: str = "test_id") -> dict[str, float]:
    """Share of questions whose best answer the adversary gives from the question alone, in percent; {} without one."""
    right, model = [], trainer.model.eval()
    with torch.no_grad():
        for batch in DataLoader(splits[split], batch_size=200, collate_fn=trainer.data_collator):
            inputs = trainer._prepare_inputs(
                {name: batch[name] for name in ("input_ids", "attention_mask", "visual_feats")}
            )
            answered = model(**inputs).question_logits
            if answered is None:
                return {}
            right.append(answered.argmax(-1).cpu() == batch["labels"].argmax(-1))
    return {f"adversary_{split.removeprefix('test_')}": 100 * float(torch.cat(right).double().mean())}


def run(output: Path, seeds: list[int]) -> None:
    settings = {name: guidance for name, (_, guidance) in arms().items()}
    table = Table("compared", output, settings)
    splits = {seed: demo.load(seed, OPTIONS.num_boxes) for seed in seeds}
    for arm, (kind, guidance) in arms().items():
        maker = model_maker(kind, "adversary" in arm)
        for seed in seeds:
            run_arm(table, arm, guidance, splits[seed], seed, adversary_accuracy, make_model=maker)
    _statements(table)
    table.show(COLUMNS)


def _statements(table: Table) -> None:
    for kind in WEIGHTS:
        model = NAMES[kind]
        for arm in ("adversary", "adversary alone"):
            table.compare(f"the {arm} beats no guidance, {model}", (f"{model} {arm}", f"{model} unguided"))
        pair = (f"{model} adversary", f"{model} adversary alone")
        table.compare(f"the difference of entropies adds to the adversary, {model}", pair)
        for name in ("HINT", "VisFIS"):
            table.compare(f"{name} beats the adversary, {model}", (f"{model} {name}", f"{model} adversary"))
    for model in NAMES.values():
        for name in ("HINT", "VisFIS"):
            table.compare(f"{name} beats no guidance, {model}", (f"{model} {name}", f"{model} unguided"))
    for first, second in (("Pythia", "UpDn"), ("SAN", "UpDn"), ("Pythia", "SAN")):
        table.compare(f"{first} beats {second}, unguided", (f"{first} unguided", f"{second} unguided"))
        table.compare(f"{first} beats {second}, VisFIS", (f"{first} VisFIS", f"{second} VisFIS"))


def choose_weights(output: Path, seeds: list[int]) -> None:
    """Dev accuracy by weight, of a seed that the study does not use; test splits of that seed only for comparison."""
    for seed in seeds:
        splits = demo.load(seed, OPTIONS.num_boxes)
        for kind in WEIGHTS:
            for weights in (None, *GRID):
                guidance = recipes.adversarial_regularization(*weights) if weights else recipes.task_only()
                trainer = demo.train(splits, guidance, seed, OPTIONS, model_maker(kind, weights is not None))
                found = {name: 100 * demo.accuracy(trainer, splits[name]) for name in ("dev", "test_id", "test_ood")}
                found |= adversary_accuracy(trainer, splits, "dev")
                shown = ", ".join(f"{name} {value:.1f}" for name, value in found.items())
                print(f"seed {seed} {NAMES[kind]} {weights or 'unguided'}: {shown}", flush=True)

"""Cards under test: those of strangers that are read for a base model, and our own, written of names of any kind."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from documents import ODD_TEXTS, changed, damaged
from huggingface_hub import ModelCard

from hf_guidance import Guidance, Term
from hf_guidance.attributions import GradCAM
from hf_guidance.objectives import Energy
from hf_guidance.training.publishing.annotations import AnnotationFacts, RowsFacts
from hf_guidance.training.publishing.card_options import CardOptions
from hf_guidance.training.publishing.model_card import CardFacts, model_card
from hf_guidance.training.publishing.origins import base_model, card_data, is_hub_id

STRANGER = {"license": "apache-2.0", "base_model": ["microsoft/resnet-50"], "tags": ["a"], "datasets": ["org/set"]}
SIGNS = ":#|`\"'{}[]<>&*_\\-!%@,?\n\r\t\x0b\u2028 é漢\U0001f600ab0."


def card_read(folder: Path) -> Callable[[random.Random], bool]:
    """The card of a local base model."""
    file = folder / "README.md"
    model = SimpleNamespace(config=SimpleNamespace(_name_or_path=str(folder)))

    def run(chance: random.Random) -> bool:
        lines = [f"{key}: {value}" for key, value in changed(chance, STRANGER).items()]
        content = ("---\n" + "\n".join(lines) + "\n---\n# A model\n").encode("utf-8", "surrogatepass")
        file.write_bytes(damaged(chance, content) if chance.random() < 0.5 else content)
        read = card_data(file)
        named = base_model(model, None)
        assert named is None or is_hub_id(named)
        return bool(read)

    return run


def card_written(folder: Path) -> Callable[[random.Random], bool]:
    """A card of any names: its metadata come back as they were given, and every table has its width."""

    def run(chance: random.Random) -> bool:
        rows = RowsFacts(_text(chance), None, _text(chance), _text(chance), chance.randrange(100))
        metrics = {f"eval_{_text(chance)}": chance.choice((0.5, float("nan"), 1e30, -1)) for _ in range(3)}
        facts = CardFacts(
            name=_text(chance), repo=None, model=SimpleNamespace(config=SimpleNamespace(model_type=_text(chance))),
            guidance=Guidance({"energy": Term(Energy(GradCAM("final")))}), task="image-classification",
            options=CardOptions(license=_text(chance), tags=[_text(chance)], dataset=_text(chance)),
            annotations=AnnotationFacts(rows, 3, _text(chance), (_text(chance),), False), evaluated={"eval": rows},
            now={name: (5, value) for name, value in metrics.items()}, current=set(metrics), before=metrics, unguided={},
            step=5, history=[], picture=_text(chance), processor=True, training={_text(chance): _text(chance)},
            own_words="",
        )  # fmt: skip
        card = ModelCard(model_card(facts))
        data = card.data.to_dict()
        assert data["license"] == facts.options.license
        finite = {value for value in metrics.values() if math.isfinite(value)}
        assert {result.metric_value for result in card.data.eval_results or []} <= finite
        _check_tables(card.text)
        return True

    return run


def _text(chance: random.Random) -> str:
    kind = chance.random()
    if kind < 0.2:
        return chance.choice([text for text in ODD_TEXTS if text.strip() and text != "\ud800"])
    return "a" + "".join(chance.choice(SIGNS) for _ in range(chance.randrange(12)))


def _check_tables(text: str) -> None:
    width, fenced = 0, False
    for line in text.split("\n"):
        fenced ^= line.startswith("```")
        cells = line.replace("\\|", "").count("|") if line.startswith("|") and not fenced else 0
        assert not (width and cells) or cells == width, line
        width = cells

"""How to load a model and look at its maps, as the code of a card."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from transformers import AutoModelForImageClassification

from hf_guidance.guidance import Guidance, known_names
from hf_guidance.models.channel_mask import has_channel_mask
from hf_guidance.training.checkpoint_adapters import saves_adapters
from hf_guidance.training.publishing.caption_usage import CaptionUse

_AUTO = "AutoModelForImageClassification"
IMAGES, QUESTIONS, CAPTIONS = "image-classification", "visual-question-answering", "image-to-text"


def code_to_load(
    model: Any,
    guidance: Guidance,
    repo: str,
    base: str | None,
    task: str,
    processor: bool,
    captions: CaptionUse | None = None,
) -> str:
    """Lines of Python.

    Args:
        model: The unwrapped model.
        guidance: Its terms.
        repo: Id of the repository, or what stands for it.
        base: Hub id of the base model.
        task: Id of the task on the Hub.
        processor: Whether an image processor is beside the model.
        captions: What a captioner needs; None for other models.
    """
    explained = next(iter(guidance.on_attributions), None) if task == IMAGES and processor else None
    auto, load = _loading(model, base)
    lines = [f"from hf_guidance import Guidance{', explain' if explained else ''}", *auto]
    if processor and task == IMAGES:
        lines[-1:] = [_joined(lines[-1])]
    lines = _merged([*lines, *captions.imports()]) if captions else lines
    lines += ["", f"repo = {json.dumps(repo)}", *load]
    if processor and task == IMAGES:
        lines.append("processor = AutoImageProcessor.from_pretrained(repo)")
    lines.append(_guidance_line(guidance))
    if explained:
        lines += [
            "",
            f"attribution = guidance[{json.dumps(explained)}].objective.attribution.by_place()",
            "images = [...]  # of PIL",
            "found = explain(model, images, processor, attribution=attribution)",
            'found.save("maps.png")',
        ]
    if captions:
        lines += ["", *captions.lines()]
    return "\n".join(lines)


def _merged(lines: list[str]) -> list[str]:
    """Import lines, one for each module."""
    found: dict[str, set[str]] = {}
    for line in lines:
        module, names = line.removeprefix("from ").split(" import ")
        found.setdefault(module, set()).update(names.split(", "))
    return [f"from {module} import {', '.join(sorted(found[module]))}" for module in sorted(found)]


def _joined(line: str) -> str:
    """An import line of transformers with the image processor's class."""
    head = "from transformers import "
    if line.startswith(head):
        return head + ", ".join(sorted([*line.removeprefix(head).split(", "), "AutoImageProcessor"]))
    return f"{line}\n{head}AutoImageProcessor"


def _loading(model: Any, base: str | None) -> tuple[list[str], list[str]]:
    """Import lines, and the lines that load the model from ``repo``."""
    if saves_adapters(model):
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        imports, name = _class_of(inner)
        source = ", ".join([json.dumps(base) if base else "...", *_head(inner)])
        hint = "" if base else "  # the model that the adapter was trained on"
        lines = [f"model = {name}.from_pretrained({source}){hint}", "model = PeftModel.from_pretrained(model, repo)"]
        return ["from peft import PeftModel", *imports], lines
    imports, name = _class_of(model)
    if has_channel_mask(model):
        own = "" if name == _AUTO else f", auto={name}"
        return ["from hf_guidance.models import load_pruned", *(imports if own else [])], [
            f"model = load_pruned(repo{own})"
        ]
    if hasattr(model, "from_pretrained"):
        return imports, [f"model = {name}.from_pretrained(repo)"]
    lines = [
        f"model = {name}(...)",
        'model.load_state_dict(load_file(hf_hub_download(repo, "model.safetensors")))',
    ]
    return ["from huggingface_hub import hf_hub_download", "from safetensors.torch import load_file", *imports], lines


def _head(model: Any) -> list[str]:
    """Keywords that give a base model the head that adapters were trained with, whose weights are theirs."""
    classes = getattr(getattr(model, "config", None), "num_labels", None)
    return [] if classes is None else [f"num_labels={classes}", "ignore_mismatched_sizes=True"]


def _class_of(model: Any) -> tuple[list[str], str]:
    name, module = type(model).__name__, type(model).__module__
    known = AutoModelForImageClassification._model_mapping
    mapped = known[type(model.config)] if type(getattr(model, "config", None)) in known else ()
    if type(model) in (mapped if isinstance(mapped, tuple) else (mapped,)):
        return [f"from transformers import {_AUTO}"], _AUTO
    if module.startswith("transformers."):
        return [f"from transformers import {name}"], name
    if module.startswith("hf_guidance."):
        return [f"from hf_guidance.models import {name}"], name
    return [f"from your_module import {name}"], name


def _guidance_line(guidance: Guidance) -> str:
    known = {*known_names(), "Term", "TrainerTask"}
    own = sorted(set(_types_in(guidance.to_dict())) - known)
    types = f", types={{{', '.join(f'{json.dumps(name)}: {name}' for name in own)}}}" if own else ""
    return f"guidance = Guidance.from_pretrained(repo{types})"


def _types_in(plain: Any) -> Iterator[str]:
    """Names of the classes in the plain form of a guidance."""
    if isinstance(plain, Mapping):
        if isinstance(plain.get("type"), str):
            yield plain["type"]
        for value in plain.values():
            yield from _types_in(value)
    elif isinstance(plain, list):
        for value in plain:
            yield from _types_in(value)

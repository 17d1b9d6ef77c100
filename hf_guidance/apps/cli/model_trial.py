"""Tries a model: whether its layers are known or found, and whether a map can be taken there."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForImageClassification, TimmWrapperConfig

import hf_guidance.models  # noqa: F401  # makes the models of this library known to the Auto classes
from hf_guidance.apps.cli.application import refuse
from hf_guidance.attributions import InputXGradient
from hf_guidance.common.progress import progress
from hf_guidance.families import Family, family_of
from hf_guidance.families.structure.probe import image_shape
from hf_guidance.forward import Forward
from hf_guidance.models.shared.question_answerer import KINDS
from hf_guidance.training.attention import use_differentiable_attention
from hf_guidance.views.layers import INPUT, is_input

_SYMBOLIC = ("mid1", "mid2", "mid3", "final")


@dataclass(frozen=True)
class Layer:
    """One layer of a model.

    Attributes:
        name: As an attribution takes it.
        module: Its path; None for the input.
        map_size: (height, width) of its maps; None where none can be taken, and over boxes.
        refused: The reason where none can be taken.
    """

    name: str
    module: str | None = None
    map_size: tuple[int, int] | None = None
    refused: str | None = None


@dataclass(frozen=True)
class Trial:
    """What came of a model.

    Attributes:
        name: As it was asked for.
        kind: Name of its class.
        image_size: (height, width) of the image that it was tried on; None for a model over boxes, which is not tried.
        layers: What came of them.
    """

    name: str
    kind: str
    image_size: tuple[int, int] | None
    layers: tuple[Layer, ...]

    @property
    def works(self) -> bool:
        """Whether a map can be taken somewhere."""
        return any(layer.refused is None for layer in self.layers)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {"works": self.works, **asdict(self)}

    def table(self) -> str:
        """For people."""
        width = max(len(layer.name) for layer in self.layers) + 2
        on = "questions over boxes" if self.image_size is None else f"tried on {_times(self.image_size)} pixels"
        head = f"{self.name} ({self.kind}, {on}): {'works' if self.works else 'refused'}"
        lines = [head, f"{'layer':{width}s}{'map':12s}module"]
        for layer in self.layers:
            size = "refused" if layer.refused else "one a box" if layer.map_size is None else _times(layer.map_size)
            told = layer.refused or layer.module or ""
            lines.append(f"{layer.name:{width}s}{size:12s}{told if told != layer.name else ''}".rstrip())
        return "\n".join(lines)


def tried(name: str, every_module: bool = False) -> Trial:
    """Build a model with random weights, and take a map at its layers.

    Args:
        name: Model type of transformers, ``timm/<name>``, folder, or Hub id.
        every_module: Whether to try every module instead of "mid1" to "final".

    Returns:
        What came of it.

    Raises:
        typer.BadParameter: There is no such model.
        ValueError: It is no image classifier.
    """
    config = _config(name)
    if config.model_type in KINDS:
        return Trial(name, type(config).__name__.replace("Config", ""), None, (Layer(INPUT),))
    torch.manual_seed(0)
    model = _built(name, config).eval()
    modules = [path for path, _ in model.named_modules() if path]
    use_differentiable_attention(model, modules if every_module else ())
    family, size = family_of(model), image_shape(model)[1]
    names = modules if every_module else _symbolic(family)
    found = tuple(_layer(layer, model, family) for layer in progress([INPUT, *names], "trying layers", unit="layer"))
    if every_module:
        found = tuple(layer for layer in found if layer.refused is None)
    return Trial(name, type(model).__name__, size, found)


def _symbolic(family: Family) -> list[str]:
    try:
        return [name for name in _SYMBOLIC if name in family.layers]
    except ValueError:  # which _layer tells
        return ["final"]


def _times(size: tuple[int, int]) -> str:
    return " x ".join(map(str, size))


def _layer(name: str, model: nn.Module, family: Family) -> Layer:
    try:
        path = None if is_input(name) else family.path(name, model)
        if path is not None:
            family.layout(path, model)
        with torch.no_grad():
            attribution = InputXGradient(name)
            maps = Forward(model, family, _batch(model), attribution.needs()).attribution(attribution)
    except Exception as error:  # a model of another library may fail in any way
        return Layer(name, refused=" ".join(str(error).split()) or type(error).__name__)
    if maps.dim() != 3 or not bool(maps.isfinite().all()) or not bool(maps.any()):
        return Layer(name, path, refused=f"the map has shape {tuple(maps.shape[1:])}, or is zero everywhere")
    if maps[0].numel() == 1:
        return Layer(name, path, refused="the map has one place")
    return Layer(name, path, (int(maps.shape[1]), int(maps.shape[2])))


def _batch(model: Any) -> Mapping[str, Any]:
    channels, size = image_shape(model)
    generator = torch.Generator().manual_seed(0)
    target = torch.zeros(1, dtype=torch.long)
    return {
        "pixel_values": torch.randn(1, channels, *size, generator=generator), "labels": target, "target": target,
        "importance": torch.ones(1, *size),
    }  # fmt: skip


def _built(name: str, config: Any) -> Any:
    try:
        return AutoModelForImageClassification.from_config(config)
    except ValueError as error:
        if "Unrecognized configuration class" in str(error):
            raise ValueError(f"{name} ({config.model_type}) is no image classifier of transformers.") from error
        raise


def _config(name: str) -> Any:
    if Path(name).is_dir():
        return AutoConfig.from_pretrained(name)
    if name in CONFIG_MAPPING:
        return AutoConfig.for_model(name)
    import timm

    bare = name.removeprefix("timm/")
    known = timm.list_models()
    if bare.partition(".")[0] in known:
        return TimmWrapperConfig(architecture=bare)
    if "/" in name and not name.startswith("timm/"):
        return AutoConfig.from_pretrained(name)
    close = difflib.get_close_matches(bare, [*CONFIG_MAPPING, *known], n=3)
    hint = f"; did you mean {' or '.join(close)}?" if close else "; give a model type, timm/NAME, a folder or a Hub id."
    return refuse(f"no model is called {name!r}{hint}", "NAME")

"""Names of layers that are not module paths. Only this file compares layer names; other files call its functions.

| name | what is read there |
|---|---|
| "input" | the features that the model is given |
| "logits" | the scores of the classes, an output of every call |
| "attention" | the model's own attention over its places, where it has one |
| "class_map" | one map per class, whose mean over places is its logit up to a bias (B-cos heads) |
| "mid1", "mid2", "mid3", "final" | outputs of modules, by the paths that the model's family gives |
| "fusion" | likewise: the vector in which a model of questions has joined question and image, without places |
| "question" | likewise: the question's side of the product at "fusion", before its ReLU |
| "grid" | likewise: the cells of a grid over the image, where a model of questions is given their features beside boxes |
"""

from __future__ import annotations

from collections.abc import Mapping

INPUT = "input"
LOGITS = "logits"
ATTENTION = "attention"
CLASS_MAP = "class_map"
MIDDLE = ("mid1", "mid2", "mid3")
FINAL = "final"
FUSION = "fusion"
QUESTION = "question"
GRID = "grid"


def is_input(layer: str) -> bool:
    """Whether the layer is the model's features themselves."""
    return layer == INPUT


def is_attention(layer: str) -> bool:
    """Whether the layer is the model's own attention, an output and not an activation."""
    return layer == ATTENTION


def is_class_map(layer: str) -> bool:
    """Whether the layer holds one map per class."""
    return layer == CLASS_MAP


def is_symbolic(layer: str) -> bool:
    """Whether the layer is a name for which a family has the path of a module."""
    return layer in (*MIDDLE, FINAL, FUSION, QUESTION, GRID)


def is_final(layer: str, paths: Mapping[str, str] | None = None) -> bool:
    """Whether the layer is the last one with places, by its name or (with ``paths``) by the path of its module."""
    return layer == FINAL or (paths is not None and FINAL in paths and layer == paths[FINAL])


def is_recorded(layer: str) -> bool:
    """Whether a call must record the layer. The logits need no recording: they are an output of every call."""
    return layer != LOGITS


def is_module(layer: str) -> bool:
    """Whether the layer is the output of a module, which a hook records."""
    return layer not in (INPUT, LOGITS, ATTENTION)


def is_differentiated(layer: str) -> bool:
    """Whether gradients are taken at the layer; logits, attention and class maps are read as they are."""
    return layer not in (LOGITS, ATTENTION, CLASS_MAP)


def is_a_whole_cut(layer: str, paths: Mapping[str, str]) -> bool:
    """Whether the logits are known to depend on the input through this layer only: the input and the named layers."""
    parts = (QUESTION, GRID)  # the image takes part, too, and the boxes
    whole = {name: path for name, path in paths.items() if name not in parts}
    return layer == INPUT or layer in (*whole, *whole.values())


def choices(paths: Mapping[str, str]) -> list[str]:
    """The layer names that a model offers, for error messages; the input alone where the others cannot be found."""
    try:
        return [INPUT, *paths]
    except ValueError:
        return [INPUT]

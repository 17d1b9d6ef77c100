"""Places: what is known of the layers of one model, found when it is asked for and then kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary, ref

from torch import nn

from hf_guidance.families.layout import Layout
from hf_guidance.families.structure.discovery import check_whole, discover, located
from hf_guidance.families.structure.patches import patch_of
from hf_guidance.families.structure.probe import Probe

WAY_OUT = "GuidedTrainer(family=Family(layers={'final': '<module path>'}, channel_axis=...))"


class Places:
    """The layers of one model and their layouts, found by changing parts of an input (``location.py``).

    Args:
        model: The unwrapped model; only a weak reference is kept.
        proposed: Module paths of stages in the order of the forward pass, taken as layers if their layouts can be found.
    """

    def __init__(self, model: nn.Module, proposed: Sequence[str] = ()) -> None:
        self._model = ref(model)
        self._proposed = list(proposed)
        self._layouts: dict[str, Layout] = {}
        self._layers: dict[str, str] | None = None

    @property
    def layers(self) -> Mapping[str, str]:
        """Symbolic layer -> path, looked for when it is first read.

        Raises:
            ValueError: On reading, if the model cannot be called or has no layer with places.
        """
        return FoundLayers(self._find)

    def layout(self, path: str) -> Layout:
        """The layout of a module's output.

        Raises:
            ValueError: It does not map to places in a known way; the message says why, and the way out.
        """
        if path not in self._layouts:
            model = self._here()
            try:
                probe = Probe(model)
                check_whole(probe, path)
                found, reasons = located(probe, [path])
                if reasons:
                    raise ValueError(reasons[path])
            except ValueError as error:
                raise ValueError(
                    f"layer {path!r} of {type(model).__name__} cannot be read: {error}. Choose another layer, or say how it is "
                    f"laid out by {WAY_OUT}."
                ) from error
            self._keep(found, probe)
        return self._layouts[path]

    def _find(self) -> dict[str, str]:
        if self._layers is None:
            model = self._here()
            probe = Probe(model)
            try:
                self._layers, found = discover(probe, self._proposed)
            except ValueError as error:
                raise ValueError(
                    f"the layers of {type(model).__name__} are not known: {error}. 'input' works for every model that takes "
                    f"pixel_values; for another layer name its module and layout by {WAY_OUT}."
                ) from error
            self._keep(found, probe)
        return self._layers

    def _keep(self, found: Mapping[str, tuple[Layout, tuple[int, int]]], probe: Probe) -> None:
        for path, (layout, grid) in found.items():
            self._layouts[path] = patch_of(probe.model, layout, grid, probe.size)

    def _here(self) -> nn.Module:
        model = self._model()
        if model is None:
            raise ValueError("the model of this family is gone; make the family anew by family_of(model).")
        return model


class FoundLayers(Mapping[str, str]):
    """Symbolic layer -> path, found at the first look."""

    def __init__(self, find: Callable[[], dict[str, str]]) -> None:
        self._find = find

    def __getitem__(self, layer: str) -> str:
        return self._find()[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._find())

    def __len__(self) -> int:
        return len(self._find())

    def __repr__(self) -> str:
        return f"FoundLayers({self._find()!r})"


def places_of(model: nn.Module, proposed: Sequence[str] = ()) -> Places:
    """The places of a model, the same object at every call as long as the model lives.

    Args:
        model: The unwrapped model. With adapters of PEFT, the one inside is meant, whose modules keep their paths.
        proposed: As in Places; only the first call for a model reads it.
    """
    core = inner(model)
    if core not in _KNOWN:
        _KNOWN[core] = Places(core, proposed)
    return _KNOWN[core]


def inner(model: nn.Module) -> nn.Module:
    """The model itself, or the one inside PEFT's wrapper."""
    base: Any = getattr(model, "get_base_model", None)
    return base() if callable(base) else model


_KNOWN: WeakKeyDictionary[nn.Module, Places] = WeakKeyDictionary()

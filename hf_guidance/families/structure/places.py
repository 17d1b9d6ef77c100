"""Places: what is known of the layers of one model, found when it is asked for and then kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary, ref

from torch import Tensor, nn

from hf_guidance.common.sharding import is_sharded
from hf_guidance.families.layout import Layout
from hf_guidance.families.structure.discovery import check_whole, discover, located
from hf_guidance.families.structure.pooled_head import PooledHead, pooled_head
from hf_guidance.families.structure.probe import Calling, Probe
from hf_guidance.families.structure.signature import inner
from hf_guidance.families.structure.weights import random_weights
from hf_guidance.views.layers import FINAL, is_symbolic

WAY_OUT = "GuidedTrainer(family=Family(layers={'final': '<module path>'}, channel_axis=...))"
_HEADS = 8  # a head that changes more often is a module that counts its calls, say, and no step shall pay for that


@dataclass
class _Known:
    """What was found for one way of calling the model, which is kept with its arguments."""

    calling: Calling
    layouts: dict[str, Layout] = field(default_factory=dict)
    layers: dict[str, str] | None = None
    head: PooledHead | None = None
    heads: int = 0  # how often it was looked for


class Places:
    """The layers of one model and their layouts, found by changing parts of an input (``location.py``).

    Args:
        model: The unwrapped model; only a weak reference is kept.
        proposed: Module paths of stages in the order of the forward pass, taken as layers if their layouts can be found.
    """

    def __init__(self, model: nn.Module, proposed: Sequence[str] = ()) -> None:
        self._model = ref(model)
        self._proposed = list(proposed)
        self._known: dict[tuple[Any, ...], _Known] = {}
        self._weights: tuple[Any, dict[str, Tensor]] | None = None

    def layers(self, calling: Calling | None = None) -> FoundLayers:
        """Symbolic layer -> path, looked for when it is first read; see ``find``."""
        return FoundLayers(self, calling or Calling())

    def layout(self, path: str, calling: Calling) -> Layout:
        """The layout of a module's output.

        Raises:
            ValueError: It does not map to places in a known way; the message says why, and the way out.
        """
        known = self._of(calling)
        if path not in known.layouts:
            probe = self._probe(calling)
            try:
                check_whole(probe, path)
                found, reasons = located(probe, [path])
                if reasons:
                    raise ValueError(reasons[path])
            except ValueError as error:
                raise ValueError(
                    f"layer {path!r} of {type(probe.model).__name__} cannot be read: {_why(error)}. Choose another layer, or "
                    f"say how it is laid out by {WAY_OUT}."
                ) from error
            known.layouts[path] = found[path].layout
        return known.layouts[path]

    def find(self, calling: Calling) -> dict[str, str]:
        """Symbolic layer -> path.

        Raises:
            ValueError: The model cannot be called or has no layer with places.
        """
        known = self._of(calling)
        if known.layers is None:
            probe = self._probe(calling)
            try:
                known.layers, found = discover(probe, self._proposed)
            except ValueError as error:
                raise ValueError(
                    f"the layers of {type(probe.model).__name__} are not known: {_why(error)}. 'input' works for every model "
                    f"that takes pixel_values; for another layer name its module and layout by {WAY_OUT}."
                ) from error
            known.layouts |= {path: place.layout for path, place in found.items()}
        return known.layers

    def pooled_linear(self, calling: Calling) -> str | None:
        """Path of the Linear layer that makes the logits of the mean of "final" (``pooled_head``); None if there is none.

        It is looked for again when what lies behind the layer has changed.
        """
        known, model = self._of(calling), self._model()
        if is_sharded(model):  # by then its modules are of other classes, with hooks, and do what they did
            return None if known.head is None else known.head.linear
        if known.head is None or (model is not None and not known.head.still_holds(model)):
            if model is None or known.heads == _HEADS:
                return None
            try:
                final = self.find(calling)[FINAL]
                layout = self.layout(final, calling)
            except ValueError:  # whoever reads the layer is told why
                return None
            known.head, known.heads = pooled_head(self._probe(calling), final, layout), known.heads + 1
        return known.head.linear

    def settle(self) -> None:
        """Free the random weights, which are kept from one question to the next; what was found stays."""
        self._weights = None

    def _of(self, calling: Calling) -> _Known:
        # By identity, for arguments may be tensors: no step shall print or compare them.
        key = (calling.logits, *((name, id(value)) for name, value in sorted(calling.arguments.items())))
        if key not in self._known:
            self._known[key] = _Known(calling)
        return self._known[key]

    def _probe(self, calling: Calling) -> Probe:
        model = self._model()
        if model is None:
            raise ValueError("the model of this family is gone; make the family anew by family_of(model).")
        if is_sharded(model):
            raise ValueError("its weights are spread over processes (FSDP2), and layers are looked for before that")
        # Anew for a model that was changed, moved or cast since.
        named = (*model.named_parameters(), *model.named_buffers())
        tensors = [(name, tensor.shape, tensor.dtype, tensor.device) for name, tensor in named]
        if self._weights is None or self._weights[0] != tensors:
            self._weights = tensors, random_weights(model)
        return Probe(model, calling, self._weights[1])


class FoundLayers(Mapping[str, str]):
    """Symbolic layer -> path, found when one of these names is first asked for; a path asks for nothing.

    Pickled, it is a dict of what is found.
    """

    def __init__(self, places: Places, calling: Calling) -> None:
        self._places, self._calling = places, calling

    def called(self, calling: Calling) -> FoundLayers:
        """Those of the same model, called in another way."""
        return FoundLayers(self._places, calling)

    def pooled_linear(self) -> str | None:
        """Path of the Linear layer on the mean of "final"; None if there is none, or no such layer."""
        return self._places.pooled_linear(self._calling)

    def __getitem__(self, layer: str) -> str:
        if not is_symbolic(layer):
            raise KeyError(layer)
        return self._places.find(self._calling)[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places.find(self._calling))

    def __len__(self) -> int:
        return len(self._places.find(self._calling))

    def __repr__(self) -> str:
        return "FoundLayers()"

    def __deepcopy__(self, memo: Any) -> FoundLayers:
        return self

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


def _why(error: Exception) -> str:
    return str(error).rstrip(".")  # a sentence goes on behind it


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


def settle(model: nn.Module) -> None:
    """Free what is kept of a model for further questions about its layers: it is about to be trained."""
    places = _KNOWN.get(inner(model))
    if places is not None:
        places.settle()


_KNOWN: WeakKeyDictionary[nn.Module, Places] = WeakKeyDictionary()

"""The head of a net whose layers are found: found, too, when it is first asked for, and again when the net has changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, overload

from hf_guidance.families.structure.places import FoundLayers


class FoundHead:
    """The path of the Linear layer on the mean of "final", to be looked for when it is read; pickled, what is found.

    Args:
        layers: Of the same model.
    """

    def __init__(self, layers: FoundLayers) -> None:
        self._layers = layers

    def path(self) -> HeadPath | None:
        """Path of the Linear layer; None if there is none."""
        found = self._layers.pooled_linear()
        return None if found is None else HeadPath(found, self._layers["final"])

    def __deepcopy__(self, memo: Any) -> FoundHead:
        return self

    def __reduce__(self) -> Any:
        return _as_it_is, (self.path(),)


class HeadPath(str):
    """A path that was found, and the layer on whose mean the module there was found to be.

    Args:
        path: Of the Linear layer.
        layer: Path of the layer "final".
    """

    layer: str

    def __new__(cls, path: str, layer: str = "") -> HeadPath:  # noqa: D102  # as the class says
        made = super().__new__(cls, path)
        made.layer = layer  # copies and pickles take it from there
        return made


Given = str | FoundHead | None


class PooledLinear:
    """A field of a dataclass that holds a path or None, or finds them when it is read."""

    @overload
    def __get__(self, owner: None, kind: type) -> None: ...

    @overload
    def __get__(self, owner: object, kind: type) -> str | None: ...

    def __get__(self, owner: object | None, kind: type) -> str | None:
        if owner is None:  # the field's default
            return None
        given = self.given(owner)
        return given.path() if isinstance(given, FoundHead) else given

    def __set__(self, owner: object, value: Given | PooledLinear) -> None:
        vars(owner)["pooled_linear"] = None if isinstance(value, PooledLinear) else value  # its own default

    @staticmethod
    def given(owner: object) -> Given:
        """What the field holds, without looking for anything."""
        given: Given = vars(owner)["pooled_linear"]
        return given


def head_of_layers(given: Given, layers: Mapping[str, str]) -> Given:
    """What a head that was found is to a family of these layers, which may be others, or those of another call.

    Args:
        given: By hand it is believed.
        layers: Of the family.
    """
    if isinstance(given, FoundHead | HeadPath) and isinstance(layers, FoundLayers):
        return FoundHead(layers)
    found = given.path() if isinstance(given, FoundHead) else given
    return None if isinstance(found, HeadPath) and layers.get("final") != found.layer else found


def _as_it_is(path: Given) -> Given:
    return path

"""Models of this library that load where it is not installed: their source lies beside their weights.

Beside config.json and preprocessor_config.json a file is written with all that the class needs (``one_file``), and the entry
``auto_map`` names it, as transformers documents for ``trust_remote_code=True``. Where this library is imported, transformers
takes its own classes, without asking for trust.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import nn

from hf_guidance.common.whole_file import whole_file
from hf_guidance.models.shared.one_file import one_file

_STUB = '''
class CarriesCode:
    """In hf_guidance: writes this file when a model is saved. Here transformers copies it."""
'''
_MISSING = (
    "this model needs torch, torchvision and transformers >= 5.17, one of which is missing or older: "
    "`pip install -U hf-guidance` brings them all, and its own classes for this model."
)


@dataclass(frozen=True)
class Code:
    """The file with the source of a class.

    Args:
        name: Name of the file without ``.py``.
        modules: Modules of this library whose classes it has.
        auto_map: Name of an Auto class of transformers -> name of the class in the file.
    """

    name: str
    modules: tuple[str, ...]
    auto_map: Mapping[str, str]

    def entries(self) -> dict[str, str]:
        """The ``auto_map`` of a config file."""
        return {auto: f"{self.name}.{cls}" for auto, cls in self.auto_map.items()}

    def write(self, folder: Path) -> None:
        """Write the file into a folder."""
        with whole_file(folder / f"{self.name}.py", shared=True) as draft:
            draft.write_text(source_of(self.modules, tuple(self.auto_map.values())), encoding="utf-8")


_COPIES = "transformers_modules"  # where transformers puts the source that it runs
_CODES: dict[type, Code] = {}


class CarriesCode:
    """Base of a configuration or image processor whose file is accompanied by the source of its classes.

    Only for classes that are given to ``carry``, and for models of the classes that their ``auto_map`` names: a user's subclass
    has no source here, and is saved as transformers does.
    """

    def to_json_file(self, json_file_path: Any, *args: Any, **kwargs: Any) -> None:
        """Write the file as transformers does, with ``auto_map``, and the source beside it."""
        code = _CODES.get(type(self))
        saved = getattr(self, "architectures", None) or ()  # the class of the model, where one is saved
        if code is not None and set(saved) <= set(code.auto_map.values()):
            code.write(Path(json_file_path).parent)
            self.auto_map = code.entries()
        super().to_json_file(json_file_path, *args, **kwargs)  # type: ignore[misc]


def carry(owner: type, code: Code) -> None:
    """Let a configuration or image processor, a subclass of CarriesCode, write a file of source when it is saved."""
    _CODES[owner] = code


def refuse_copy(model: Any) -> None:
    """Refuse a model of this library whose class, or that of a part, is or comes from the copy that lay beside its weights.

    A copy answers as the model does, but does not hear what this library tells its layers, as to hold dynamic weights fixed:
    attributions would be silently wrong.

    Raises:
        ValueError: ``model`` is such a copy.
    """
    own = {getattr(cls, "model_type", None) for cls in _CODES} - {None}
    parts = list(model.modules()) if isinstance(model, nn.Module) else [model]
    # A net has hundreds of parts of a few classes.
    copies = {kind: _copied(kind) for kind in {type(part) for part in parts}}
    for part in parts if any(copies.values()) else ():
        kind = getattr(getattr(part, "config", None), "model_type", None)
        copied = copies[type(part)]
        if copied is None or kind not in own:
            continue
        raise ValueError(
            f"this {copied.__name__} is the copy that was saved beside its weights, loaded by trust_remote_code=True "
            "before hf_guidance was imported. Guidance and attributions need hf_guidance's own class: `import "
            "hf_guidance.models` first, then load the model again, without trust_remote_code."
        )


def _version() -> str:
    # By name: a room does not import from the face of the package, which imports all rooms.
    version: str = sys.modules[__name__.partition(".")[0]].__version__
    return version


def _copied(kind: type) -> type | None:
    return next((base for base in kind.__mro__ if base.__module__.partition(".")[0] == _COPIES), None)


@lru_cache
def source_of(modules: tuple[str, ...], classes: tuple[str, ...]) -> str:
    """The text of the file for some modules; ``classes`` are named at its top."""
    docstring = f"""{" and ".join(classes)}, with all that they need, in one file.

transformers loads them from here by trust_remote_code=True where hf_guidance is not installed. Written by hf_guidance
{_version()} when the model was saved, from its modules named below; change them there. Where hf_guidance is installed and
imported, its classes are used instead of these; it trains with guidance, evaluates and explains: pip install hf-guidance

SPDX-License-Identifier: Apache-2.0"""
    return one_file(modules, docstring, {__name__: _STUB}, _MISSING)

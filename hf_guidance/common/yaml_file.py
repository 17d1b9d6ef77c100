"""Options in YAML files: read as YAML 1.2 reads numbers, and written so that they are read back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml


class _Yaml(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """YAML in which 1e-4 is a number, as in YAML 1.2 and JSON; version 1.1 wants 1.0e-4 and takes the other for text."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """A mapping whose names are all different; PyYAML would keep the last of equal ones."""
        names = [key.value for key, _ in node.value]
        twice = sorted({str(name) for name in names if names.count(name) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


class _Writer(yaml.SafeDumper):  # type: ignore[misc]  # PyYAML has no types
    """Puts text into quotes that would be read as a number."""


for _kind in (_Yaml, _Writer):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"), list("-+.0123456789")
    )


def read_options(path: str | Path) -> dict[str, Any]:
    """Read options with their values from a YAML file.

    Args:
        path: The file; UTF-8.

    Returns:
        Name to value.

    Raises:
        ValueError: The file does not exist, is no YAML, gives an option twice, or holds something else than options.

    Example:
        >>> read_options("examples/model_guidance/digits.yaml")["batch_size"]
        64
    """
    try:
        given = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_Yaml)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML that can be read: {' '.join(str(error).split())}") from error
    if not isinstance(given, dict) or not all(isinstance(name, str) for name in given):
        raise ValueError(f"{path} holds {given!r}; give options with values, a line each, as epochs: 10.")
    return given


def options_text(options: Mapping[str, Any]) -> str:
    """Write options as YAML text that ``read_options`` reads back.

    Args:
        options: Name to a value of plain types: text, numbers, None, lists and mappings of them.

    Returns:
        One line per option, in the order given.
    """
    plain, form = dict(options), {"sort_keys": False, "width": 120, "default_flow_style": None}
    text: str = yaml.dump(plain, Dumper=_Writer, allow_unicode=True, **form)
    if yaml.load(text, Loader=_Yaml) == plain:
        return text
    ascii_only: str = yaml.dump(plain, Dumper=_Writer, allow_unicode=False, **form)  # for characters such as U+0085
    return ascii_only

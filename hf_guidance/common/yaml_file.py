"""Options in YAML files: read as YAML 1.2 reads them, and written so that they are read back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml

RULE = "booleans are true and false, numbers are decimal (12, 0.5, 1e-4), and all else is text as it is written"


class _Yaml(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """YAML 1.2, by RULE; PyYAML's own is 1.1, where 1e-4 is text, no is false, 010 is 8 and 1:30 is 90."""

    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {}

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """A mapping whose names are all different; PyYAML would keep the last of equal ones."""
        names = [key.value for key, _ in node.value]
        twice = sorted({str(name) for name in names if names.count(name) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


class _Writer(yaml.SafeDumper):  # type: ignore[misc]  # PyYAML has no types
    """Puts text into quotes that YAML 1.1 or 1.2 would read as something else."""


_KINDS = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "int": (r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    "float": (
        r"[-+]?((0|[1-9][0-9]*)\.[0-9]*|(0|[1-9][0-9]*)(?=[eE])|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)"
        r"|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    "merge": (r"<<", "<"),
}
for _name, (_form, _first) in _KINDS.items():
    for _kind in (_Yaml, _Writer):
        _kind.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(rf"(?:{_form})$"), list(_first))


def read_options(path: str | Path) -> dict[str, Any]:
    """Read options with their values from a YAML file.

    Booleans are true and false, numbers are decimal (12, 0.5, 1e-4), and all else is text as it is written: no, 007, 1:30 and
    1_000 are text. Where such a text stands within a mapping, and may be meant as YAML 1.1 took it, it is refused.

    Args:
        path: The file; UTF-8.

    Returns:
        Name to value.

    Raises:
        ValueError: The file does not exist, is no YAML, gives an option twice, holds something else than options, or in a
            mapping a text without quotes that is a boolean, a number or a date in YAML 1.1.

    Example:
        >>> read_options("examples/model_guidance/digits.yaml")["batch_size"]
        64
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        _refuse_ambiguous(yaml.compose(text, Loader=_Yaml), within=False)
        given = yaml.load(text, Loader=_Yaml)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    except RecursionError:
        raise ValueError(f"{path}: its lists and mappings lie too deep in each other.") from None
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


def _refuse_ambiguous(node: Any, within: bool) -> None:
    """Raise for a text within a mapping of an option, whose reader knows no words of a command line."""
    if isinstance(node, yaml.MappingNode):
        for _, value in node.value:
            _refuse_ambiguous(value, within or isinstance(value, yaml.MappingNode))
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_ambiguous(value, within or isinstance(value, yaml.MappingNode))
    elif within and node.style is None and node.tag == _TEXT and _old_tag(node.value) != _TEXT:
        raise yaml.constructor.ConstructorError(
            None,
            None,
            f"{node.value} may be meant otherwise: {RULE}. Put it into quotes if it is text",
            node.start_mark,
        )


_TEXT = "tag:yaml.org,2002:str"


def _old_tag(text: str) -> Any:
    """What a text without quotes is in YAML 1.1."""
    return yaml.resolver.Resolver().resolve(yaml.ScalarNode, text, (True, False))

"""Options of a grid, from a YAML file or a command line; values that cannot be right are refused."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, get_origin, get_type_hints

from transformers import HfArgumentParser

from hf_guidance.common.yaml_file import read_options

_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a finite number without quotes, as 0.0001 or 1.0e-4",
    bool: "true or false",
    str: "text, in quotes where it looks like a number",
    str | None: "text, in quotes where it looks like a number, or nothing",
    dict: "names with values, as {energy: [0.01]} (on a command line JSON)",
    list: "a list (on a command line JSON)",
}
_LEAST = {"epochs": 1, "baseline_epochs": 1, "batch_size": 1, "image_size": 1, "max_grad_norm": 0, "max_drop": 0}
_RATES = ("learning_rate", "baseline_learning_rate")


def parsed(arguments: Sequence[str], kinds: Sequence[type]) -> tuple[Any, ...]:
    """Read the options of a YAML file or of a command line, and check that each value has the type of its option.

    Args:
        arguments: The path of one YAML file (.yaml or .yml) alone, or the words of a command line.
        kinds: Dataclasses whose fields are the options, as ``(GridArguments, DataArguments)``.

    Returns:
        One object per dataclass, in their order; fields whose default is JSON hold a dict or a list if YAML gave one.

    Raises:
        ValueError: The file holds no options or an unknown one, or a value is not of its option's type.

    Example:
        >>> options, data = parsed(["examples/model_guidance/digits.yaml"], (GridArguments, DataArguments))
    """
    parser = HfArgumentParser(kinds)
    if len(arguments) == 1 and arguments[0].endswith((".yaml", ".yml")):
        found = parser.parse_dict(read_options(arguments[0]))
    else:
        found = parser.parse_args_into_dataclasses(list(arguments))
    for options in found:
        _check_types(options)
    return tuple(found)


def _check_types(options: Any) -> None:
    types = get_type_hints(type(options))
    for one in fields(options):
        value, kind = getattr(options, one.name), types[one.name]
        if one.default in ("{}", "[]"):
            value, kind = read_json(value, one.name), type(json.loads(one.default))
        require(one.name, value, list if get_origin(kind) is list else kind)


def read_json(value: Any, name: str = "options") -> Any:
    """Read an option that a command line gives as JSON and a YAML file as it is.

    Args:
        value: JSON text, or the value itself.
        name: Name of the option, for the error.

    Returns:
        The value.

    Raises:
        ValueError: Text that is not JSON.
    """
    try:
        return json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError as error:
        raise ValueError(f"{name}={value!r} is not JSON ({error}).") from error


def setting(value: Any) -> str:
    """Write an option as text that is the same in whatever order its names are given, as YAML or as JSON.

    Args:
        value: The value of any option.

    Returns:
        Text by which two grids are compared, and of which fingerprints are made.
    """
    try:
        return str(_sorted(json.loads(value) if isinstance(value, str) and value.startswith(("{", "[")) else value))
    except json.JSONDecodeError:  # a path, perhaps
        return str(value)


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def require(name: str, value: Any, kind: Any) -> None:
    """Refuse a value that is not of a type; a whole number counts as a number, True and False do not.

    Args:
        name: Name of the option, for the error.
        value: What was given.
        kind: int, float, bool, str, ``str | None``, dict or list.

    Raises:
        ValueError: Another type, or a number that is not finite.
    """
    fits = isinstance(value, int | float if kind is float else kind) and (kind is bool or not isinstance(value, bool))
    if not fits or (kind is float and not math.isfinite(value)):
        raise ValueError(f"{name}={value!r}; give {_WORDS[kind]}.")


def check_numbers(values: Mapping[str, Any]) -> None:
    """Refuse numbers with which nothing can be trained or chosen.

    Args:
        values: The options of GridArguments and DataArguments by name.

    Raises:
        ValueError: Less than one epoch, row or pixel, a rate that is not above 0, or a negative bound.
    """
    for name, least in _LEAST.items():
        if values[name] < least:
            raise ValueError(f"{name}={values[name]} is too small; give at least {least}.")
    own = read_json(values["baseline_learning_rates"])
    rates = {name: values[name] for name in _RATES}
    rates |= {f"baseline_learning_rates: {model}": rate for model, rate in own.items()}
    for name, rate in rates.items():
        require(name, rate, float)
        if rate <= 0:
            raise ValueError(f"{name}={rate}; give a rate above 0.")

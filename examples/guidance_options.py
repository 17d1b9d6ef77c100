"""The options of run_model_guidance.py, of a YAML file or the command line; values that cannot be right are refused."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_origin, get_type_hints

import yaml
from transformers import HfArgumentParser

WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a finite number without quotes, as 0.0001 or 1.0e-4",
    bool: "true or false",
    str: "text, in quotes where it looks like a number",
    str | None: "text, in quotes where it looks like a number, or nothing",
    dict: "names with values, as {energy: [0.01]} (on a command line JSON)",
    list: "a list (on a command line JSON)",
}
LEAST = {"epochs": 1, "baseline_epochs": 1, "batch_size": 1, "image_size": 1, "max_grad_norm": 0, "max_drop": 0}


class Yaml(yaml.SafeLoader):
    """YAML in which 1e-4 is a number, as in YAML 1.2 and JSON; version 1.1 wants 1.0e-4 and takes the other for text."""


Yaml.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"), list("-+.0123456789")
)


def parsed(arguments: Sequence[str], kinds: Sequence[type]) -> tuple[Any, ...]:
    """The options, one object a kind, of a YAML file alone or of a command line; what they hold is of their types.

    Raises:
        ValueError: The file holds no options or an unknown one, or a value is not of its option's type.
    """
    parser = HfArgumentParser(kinds)
    if len(arguments) == 1 and arguments[0].endswith((".yaml", ".yml")):
        given = yaml.load(Path(arguments[0]).read_text(encoding="utf-8"), Loader=Yaml)
        if not isinstance(given, dict):
            raise ValueError(f"{arguments[0]} holds {given!r}; give options with values, a line each, as epochs: 10.")
        found = parser.parse_dict(given)
    else:
        found = parser.parse_args_into_dataclasses(list(arguments))
    for options in found:
        types = get_type_hints(type(options))
        for one in fields(options):
            value, kind = getattr(options, one.name), types[one.name]
            if one.default in ("{}", "[]"):
                value, kind = read_json(value, one.name), type(json.loads(one.default))
            require(one.name, value, list if get_origin(kind) is list else kind)
    return tuple(found)


def read_json(value: Any, name: str = "options") -> Any:
    """What a YAML file gives as it is, a command line as JSON."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError as error:
        raise ValueError(f"{name}={value!r} is no JSON ({error}).") from error


def setting(value: Any) -> str:
    """An option as text: the same in whatever order its names are given, by YAML or as JSON."""
    try:
        return str(_sorted(json.loads(value) if isinstance(value, str) and value.startswith(("{", "[")) else value))
    except json.JSONDecodeError:  # a path, perhaps
        return str(value)


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def require(name: str, value: Any, kind: Any) -> None:
    """Refuse what is not of a kind; a whole number is a number, true is none."""
    fits = isinstance(value, int | float if kind is float else kind) and (kind is bool or not isinstance(value, bool))
    if not fits or (kind is float and not math.isfinite(value)):
        raise ValueError(f"{name}={value!r}; give {WORDS[kind]}.")


def check_numbers(values: dict[str, Any]) -> None:
    """Refuse numbers with which nothing can be trained or chosen; of options by name.

    Raises:
        ValueError: Less than one epoch, row or pixel, a rate that is not above 0, or a negative bound.
    """
    for name, least in LEAST.items():
        if values[name] < least:
            raise ValueError(f"{name}={values[name]} is too small; give at least {least}.")
    rates = {f"baseline_learning_rates: {k}": v for k, v in read_json(values["baseline_learning_rates"]).items()}
    for name, rate in ({k: values[k] for k in ("learning_rate", "baseline_learning_rate")} | rates).items():
        require(name, rate, float)
        if rate <= 0:
            raise ValueError(f"{name}={rate}; give a rate above 0.")

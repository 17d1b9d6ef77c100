"""The options of a training: of a YAML file and of a command line, parsed by transformers' HfArgumentParser."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from transformers import HfArgumentParser, TrainerCallback

from hf_guidance.apps.cli.application import check_json, given_by, refuse, version
from hf_guidance.apps.cli.tasks import option_groups
from hf_guidance.common.whole_file import whole_file
from hf_guidance.common.yaml_file import options_text, read_options
from hf_guidance.training import GuidanceArguments

CONFIG_FILE = "train.yaml"
_DEBUGGING = ("underflow_overflow", "tpu_metrics_debug")
_JSON = ("{}", "[]")  # defaults of options that are JSON


def read_config(path: Path) -> dict[str, Any]:
    """The options of a YAML file.

    Args:
        path: The file.

    Returns:
        Name to value.

    Raises:
        typer.BadParameter: It cannot be read, or does not hold options.
    """
    with given_by("--config"):
        return read_options(path)


@dataclass(frozen=True)
class TrainingOptions:
    """The options of a training.

    Attributes:
        task: Its name.
        groups: The dataclasses of the options.
        parser: Of these dataclasses.
        values: Name to value, of every option.
        changed: The names whose value is not the default.
    """

    task: str
    groups: tuple[type, ...]
    parser: Any
    values: Mapping[str, Any]
    changed: frozenset[str]

    def objects(self) -> tuple[Any, ...]:
        """An object of every group, GuidanceArguments last; bars are for terminals."""
        values = dict(self.values) | ({} if sys.stderr.isatty() else {"disable_tqdm": True})
        return tuple(kind(**{f.name: values[f.name] for f in fields(kind) if f.init}) for kind in self.groups)

    def plain(self) -> dict[str, Any]:
        """What train.yaml holds: all options of the task, those of the trainer that were changed, and no token."""
        own = {f.name: _opened(f, self.values[f.name]) for kind in self.groups[:-1] for f in fields(kind)}
        names = [f.name for f in fields(self.groups[-1]) if f.name in self.changed and not f.name.endswith("token")]
        return {"task": self.task} | own | {name: _plain(self.values[name]) for name in names}

    def written(self) -> TrainerCallback:
        """A callback that writes train.yaml when training begins, when all options have proved to go together."""
        head = f"# {version()}\n# Again: hf-guidance train --config {CONFIG_FILE}\n"
        return _Written(head + options_text(self.plain()))

    def everything(self) -> str:
        """The description of all options."""
        described: str = self.parser.format_help()
        return described.partition("\n\n")[2].strip()


class _Written(TrainerCallback):  # type: ignore[misc]
    def __init__(self, text: str) -> None:
        self.text = text

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            with whole_file(Path(args.output_dir) / CONFIG_FILE) as draft:
                draft.write_text(self.text, encoding="utf-8")


def training_options(task: str, given: Mapping[str, Any], file: str, words: Sequence[str]) -> TrainingOptions:
    """Parse the options of a training.

    Args:
        task: Name of the task.
        given: The options of a file.
        file: The file, for errors.
        words: The words of the command line, which override the file.

    Returns:
        The options.

    Raises:
        typer.BadParameter: An option that does not exist, or a value of another type.
    """
    groups = (*option_groups(task), GuidanceArguments)
    parser = _parser(groups)
    defaults = {name: action.default for name, action in _actions(parser).items()}
    namespace, left = parser.parse_known_args([*_words_of(given, parser, groups, file), *words])
    for word in left:
        if word in _DEBUGGING:
            refuse(
                f"--debug shows the traceback of an error here; what transformers calls so goes into a file: debug: [{word}].",
                "--debug",
            )
        refuse(f"{word!r} is no option of this training.{_close(word, parser)}")
    values = vars(namespace)
    for kind in groups[:-1]:
        for one in fields(kind):
            _opened(one, values[one.name])
    changed = frozenset(name for name, value in values.items() if _plain(value) != _plain(defaults[name]))
    return TrainingOptions(task, groups, parser, values, changed)


def _parser(groups: Sequence[type]) -> Any:
    # No abbreviations: an option that a later version adds would change what a short form means.
    parser = HfArgumentParser(groups, prog="hf-guidance train", allow_abbrev=False, add_help=False)
    parser.error = refuse
    return parser


def _words_of(given: Mapping[str, Any], parser: Any, groups: Sequence[type], file: str) -> list[str]:
    actions = _actions(parser)
    hints = {name: hint for kind in groups for name, hint in get_type_hints(kind).items()}
    words: list[str] = []
    for name, value in given.items():
        if name not in actions:
            refuse(f"{file}: {name!r} is no option of this training.{_close(name, parser)}", "--config")
        action = actions[name]
        if value is None:
            if action.default is not None:
                refuse(f"{file}: {name} has no value; give one, or leave the line out.", "--config")
        elif isinstance(value, list) and action.nargs == "+":
            words += [f"--{name}", *(_as_word(item, action, file) for item in value)]
        elif isinstance(value, list | dict) and type(value) in _containers(hints[name], action.default):
            parser.set_defaults(**{name: json.dumps(value) if action.default in _JSON else value})
        else:
            words.append(f"--{name}={_as_word(value, action, file)}")
    return words


def _containers(hint: Any, default: Any) -> set[type]:
    """Which of list and dict an option takes as they are."""
    if default in _JSON:
        return {type(json.loads(default))}
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return {get_origin(part) or part for part in parts} & {list, dict}


def _as_word(value: Any, action: Any, file: str) -> str:
    """The word of a command line that says the same: what a file holds is parsed like it."""
    if isinstance(value, list | dict):
        refuse(f"{file}: {action.dest} is given {value!r}; it takes single values, as text or numbers.", "--config")
    if isinstance(value, float) and action.type in (str, None):
        refuse(f"{file}: {action.dest} takes text, and {value!r} is a number; put it into quotes.", "--config")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _actions(parser: Any) -> dict[str, Any]:
    return {action.dest: action for action in reversed(parser._actions)}  # of --name and --no_name the first


def _close(word: str, parser: Any) -> str:
    names = [action.dest for action in parser._actions]
    name = word.lstrip("-").partition("=")[0].replace("-", "_")
    found = difflib.get_close_matches(name, names, n=3)
    dashes = "--" if word.startswith("-") else ""
    return f" Did you mean {' or '.join(dashes + name for name in found)}?" if found else ""


def _opened(one: Any, value: Any) -> Any:
    """The value of an option; of one that is JSON what it holds."""
    if one.default not in _JSON or not isinstance(value, str):
        return value
    return check_json(value, f"--{one.name}", type(json.loads(one.default)))


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return getattr(value, "value", value)

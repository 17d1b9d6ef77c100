"""The application ``hf-guidance``, which commands are added to, and the options that several of them have."""

from __future__ import annotations

import difflib
import json
import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

__all__ = [
    "AsJson", "Command", "Debug", "Device", "app", "check_json", "check_known", "check_output", "check_utf8", "given_by",
    "is_utf8", "option", "refuse", "version",
]  # fmt: skip

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
"""Read by ``entry.run`` from the words themselves; commands have it so that it is known and shown."""


def option(metavar: str, text: str, **more: Any) -> Any:
    """An option, with the word for its value and its help.

    Args:
        metavar: The word.
        text: The help.
        **more: As for ``typer.Option``.

    Returns:
        What stands in Annotated.
    """
    return typer.Option(metavar=metavar, help=text, **more)


AsJson = Annotated[bool, typer.Option("--json", help="Print the results as JSON.")]
Device = Annotated[str, option("DEVICE", "auto, cpu or cuda.")]


class Command(TyperCommand):
    """A command whose help shows arguments by one word: MODEL, IMAGES..., [NAME]."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The words behind the name of the command in the line of its usage."""
        return ["[OPTIONS]", *(_shown(argument) for argument in self._parameters(ctx, "argument"))]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments with what they are, then the options."""
        arguments = [(_shown(argument), argument.help or "") for argument in self._parameters(ctx, "argument")]
        records = [record for option in self._parameters(ctx, "option") if (record := option.get_help_record(ctx))]
        options = [(words, text.replace("\\[", "[")) for words, text in records]  # which typer 0.20 escapes for rich
        for title, rows in (("Arguments", arguments), ("Options", options)):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def _parameters(self, ctx: Any, kind: str) -> list[Any]:
        return [parameter for parameter in self.get_params(ctx) if parameter.param_type_name == kind]


def _shown(argument: Any) -> str:
    word = f"{argument.metavar}{'...' if argument.nargs == -1 else ''}"
    return word if argument.required else f"[{word}]"


app = typer.Typer(
    name="hf-guidance",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: the same on a terminal, in a pipe and in the documentation
    pretty_exceptions_enable=False,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda name: name.replace("_", "-"),  # --data_dir is --data-dir, as in transformers
    },
)


def version() -> str:
    """The versions that matter, without importing what they are of."""
    found = {}
    for name in ("hf-guidance", "torch", "transformers"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "(not installed)"
    own = found.pop("hf-guidance")
    return f"hf-guidance {own} ({', '.join(map(' '.join, found.items()))}, Python {platform.python_version()})"


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(version())
        raise typer.Exit


EPILOG = """
\b
Examples:
  hf-guidance train --output_dir runs/digits
  hf-guidance evaluate runs/digits --dataset digits_on_photos
  hf-guidance explain runs/digits photos/ --output maps
  hf-guidance publish runs/digits me/digits --dry-run

Results go to standard output, progress to standard error. Exit codes: 0 done, 1 it failed (one line on standard error says why;
--debug shows where), 2 wrong usage (an option or a name that does not exist, a value that does not fit), 130 interrupted, 143
terminated.
"""


@app.callback(epilog=EPILOG)
def application(
    shown: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the versions.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Train vision models to be right for the right reasons, measure and explain them, and share them on the Hub."""


class WrongUsage(typer.BadParameter, ValueError):
    """What ends a command with exit code 2; for a script that calls what commands do, it is a ValueError like others."""


def refuse(message: str, option: str | None = None) -> Any:
    """End with wrong usage: exit code 2, and the message on standard error.

    Args:
        message: What was given, and what is allowed.
        option: The option that is wrong, for the message.

    Raises:
        typer.BadParameter: Always.
    """
    raise WrongUsage(message, param_hint=option)


@contextmanager
def given_by(option: str | None = None) -> Iterator[None]:
    """Within the block a ValueError is wrong usage: what was given to an option is refused, with exit code 2.

    This and ``refuse`` are the one place where an error becomes wrong usage; every other one is a failure, exit code 1. What is
    wrong in a file (an image, a dataset, a checkpoint) is a failure, and does not belong into the block.

    Args:
        option: The option that the value was given to, for the message; None where several are checked.

    Raises:
        typer.BadParameter: Instead of a ValueError.
    """
    try:
        yield
    except WrongUsage:
        raise
    except ValueError as error:
        raise WrongUsage(" ".join(str(error).split()), param_hint=option) from error


def is_utf8(text: str) -> bool:
    """Whether a name or a word of the command line was UTF-8; Python keeps others in a form that cannot be written."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_utf8(path: Path, option: str) -> None:
    """Refuse a file whose name is no text, so that it can stand neither in results nor in messages.

    Args:
        path: The file.
        option: Where it was given.

    Raises:
        typer.BadParameter: Its name is not UTF-8.
    """
    if not is_utf8(str(path)):
        refuse(f"the name of the file {os.fsencode(path)!r} is not UTF-8; rename it.", option)


def check_output(file: Path) -> None:
    """Refuse a file for results that cannot be written, before they are made.

    Args:
        file: What --output names.

    Raises:
        typer.BadParameter: It is a folder, or its folder cannot be made or written to.
    """
    if file.is_dir():
        refuse(f"{file} is a folder; name a file.", "--output")
    there = next(folder for folder in file.absolute().parents if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        refuse(f"{file} cannot be written: {there} is {'not writable' if there.is_dir() else 'no folder'}.", "--output")


def check_json(text: str, option: str, kind: type = dict) -> Any:
    """Read JSON, and refuse what is none, or holds something else.

    Args:
        text: What was given.
        option: The option that it was given to.
        kind: What it must hold: dict or list.

    Returns:
        What it holds.

    Raises:
        typer.BadParameter: It is no JSON, or of another kind.
    """
    form = "'{\"steps\": 8}'" if kind is dict else "'[1, 2]'"
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        return refuse(f"{text!r} is not JSON: {error}. Quote it for the shell: {form}.", option)
    if not isinstance(found, kind):
        refuse(
            f"{text!r} is JSON of another kind; give {'names with values' if kind is dict else 'a list'}: {form}.",
            option,
        )
    return found


def check_known(value: str, known: Iterable[str], option: str) -> str:
    """Refuse a name that is not known, with the nearest ones.

    Args:
        value: The name given.
        known: The names allowed.
        option: The option that it was given to.

    Returns:
        The name.

    Raises:
        typer.BadParameter: It is not known.
    """
    names = list(known)
    if value not in names:
        close = difflib.get_close_matches(value, names, n=3)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        refuse(f"{value!r} is unknown; choose one of {', '.join(names)}.{hint}", option)
    return value

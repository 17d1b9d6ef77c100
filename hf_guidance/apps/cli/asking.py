"""What the commands share that open a page for people: ``annotate`` and ``trust-study``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from hf_guidance.apps.cli.application import option, refuse
from hf_guidance.apps.cli.output import say

_Text = str | None
Question = Annotated[_Text, option("TEXT", "What is asked, in place of the folder's words.")]
Annotators = Annotated[_Text, option("NAMES", "Names that may answer, with commas; else any.")]
Seed = Annotated[int, option("N", "Another seed, other orders of what is asked.")]
Answers = Annotated[Path | None, option("FILE", "File of answers; else FOLDER/answers.sqlite.")]
Host = Annotated[str, option("ADDRESS", "Where to listen; 0.0.0.0 is all networks.")]
Port = Annotated[int | None, option("PORT", "Else the first free one from 7860.", min=1, max=65535)]
Password = Annotated[
    _Text, typer.Option(metavar="TEXT", envvar="HF_GUIDANCE_PASSWORD", help="People log in by name and this.")
]
Space = Annotated[Path | None, option("FOLDER", "Write the page as a Space of the Hub, and end.")]


def check_one_ending(endings: Mapping[str, Any]) -> None:
    """Refuse several options of which each is a command of its own.

    Args:
        endings: Option to its value; None where it was not given.

    Raises:
        typer.BadParameter: More than one was given.
    """
    given = [name for name, value in endings.items() if value is not None]
    if len(given) > 1:
        refuse(f"{' and '.join(given)} are commands of their own; give one.", given[1])


def names_of(annotators: str | None) -> list[str] | None:
    """Names with commas as a list; None for any."""
    return None if annotators is None else [name.strip() for name in annotators.split(",")]


def refuse_password(password: str | None) -> None:
    """Refuse a password for a Space, whose files anybody may read.

    Raises:
        typer.BadParameter: One was given.
    """
    if password:
        refuse(
            "a Space takes its password from its secret ANNOTATE_PASSWORD; set that, and leave this out.", "--password"
        )


def serve_page(folder: Path, *, annotators: str | None, host: str, password: str | None, **options: Any) -> None:
    """Serve a page until the command is ended.

    Args:
        folder: What is asked about.
        annotators: Names with commas; None for any.
        host: Where to listen.
        password: With one, people log in.
        **options: Of `hf_guidance.apps.annotation.serving.serve`.
    """
    from hf_guidance.apps.annotation.serving import serve

    if host not in ("127.0.0.1", "localhost", "::1") and not password:
        say(f"{host} can be reached from other computers, and there is no password: everybody there may answer")
    serve(
        folder, annotators=names_of(annotators), host=host, password=password,
        at=lambda address: say(f"open {address}, end by Ctrl-C"), **options,
    )  # fmt: skip

"""What a command says: results on standard output, everything else on standard error."""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

_SECRET = re.compile(r"\b(hf_|api_org_)[A-Za-z0-9]{8,}")


def say(text: str) -> None:
    """Tell about progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def give(results: Any) -> None:
    """Print results on standard output: text as it is, all else as JSON."""
    print(results if isinstance(results, str) else json_text(results), flush=True)


def json_text(value: Any) -> str:
    """Strict JSON of plain types; numbers that are not finite are null."""
    return json.dumps(finite(value), indent=2, ensure_ascii=False)


def wrapped(text: str, indent: int = 0) -> str:
    """Text in lines as wide as the terminal, or of 80 characters; all but the first are indented."""
    return textwrap.fill(
        text, shutil.get_terminal_size().columns, subsequent_indent=" " * indent, break_on_hyphens=False
    )


def columns(lines: Mapping[str, str]) -> str:
    """Names and what is said of each, in two columns."""
    width = max(map(len, lines)) + 4
    return "\n".join(wrapped(f"  {name:{width - 2}s}{line}", width) for name, line in lines.items())


def finite(value: Any) -> Any:
    """The same, with None for numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {str(name): finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON into a file that is whole or not there."""
    from hf_guidance.common.whole_file import whole_file

    with whole_file(path) as draft:
        draft.write_text(json_text(value) + "\n", encoding="utf-8")


def without_secrets(text: str) -> str:
    """The text with every access token of the Hub replaced."""
    return _SECRET.sub(r"\1***", text)


def one_line(error: BaseException) -> str:
    """What went wrong, in one line without tokens; errors that say little are named."""
    message = " ".join(str(error).split())
    if isinstance(error, ValueError | OSError) and message:
        return without_secrets(message)
    return without_secrets(f"{type(error).__name__}: {message}" if message else type(error).__name__)


_BARS = {
    "huggingface_hub": ("huggingface_hub.utils", "disable_progress_bars"),
    "datasets": ("datasets", "disable_progress_bars"),
    "transformers": ("transformers.utils.logging", "disable_progress_bar"),
}
"""Libraries that draw bars: where the function is that stops them."""


@contextlib.contextmanager
def at_work(libraries: Iterable[str] = _BARS) -> Iterator[None]:
    """Within the block what libraries print goes to standard error, and bars are drawn only on a terminal.

    Args:
        libraries: Those that may draw bars; they are imported where there is no terminal.
    """
    if not sys.stderr.isatty():
        for module, function in (_BARS[library] for library in libraries):
            getattr(importlib.import_module(module), function)()
    with contextlib.redirect_stdout(sys.stderr):
        yield

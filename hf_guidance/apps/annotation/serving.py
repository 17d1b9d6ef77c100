"""A folder served as a page until it is ended: what the command does, and ``app.py`` of a Space."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from hf_guidance.apps.annotation.items.folder import AnnotationFolder
from hf_guidance.apps.annotation.items.image_folder import ImageFolder
from hf_guidance.apps.annotation.store import AnswerStore

__all__ = ["ANSWERS", "opened", "serve"]

ANSWERS = "answers.sqlite"
_Folder = TypeVar("_Folder", bound=ImageFolder)


@contextmanager
def opened(
    folder: str | os.PathLike[str],
    answers: str | os.PathLike[str] | None = None,
    *,
    kind: type[_Folder],
    read_only: bool = False,
) -> Iterator[tuple[_Folder, AnswerStore]]:
    """A folder and its answers.

    Args:
        folder: The folder.
        answers: The file of answers; None for ``answers.sqlite`` in the folder.
        kind: What reads the folder.
        read_only: Only look.

    Yields:
        The two.

    Raises:
        ValueError: One of them cannot be used.
    """
    items = kind(folder)
    file = Path(folder) / ANSWERS if answers is None else Path(answers)
    with AnswerStore(file, items.fingerprint, len(items), items.scale, read_only=read_only) as store:
        yield items, store


def serve(
    folder: str | os.PathLike[str], *, kind: type[ImageFolder] = AnnotationFolder, question: str | None = None,
    answers: str | os.PathLike[str] | None = None, annotators: Sequence[str] | None = None, seed: int = 0,
    boxes: bool = False, password: str | None = None, host: str | None = "127.0.0.1", port: int | None = None,
    at: Callable[[str], None] = print,
) -> None:  # fmt: skip
    """Serve the page until the process is ended.

    Args:
        folder: A folder that ``write_annotation_folder``, ``write_patch_folder`` or, of two models, ``write_comparison_folder``
            wrote.
        kind: What reads the folder: `AnnotationFolder`, or `hf_guidance.apps.trust_study.ComparisonFolder`.
        question: What is asked, in place of the folder's words.
        answers: The file of answers; None for ``answers.sqlite`` in the folder.
        annotators: The names that are allowed; None for any.
        seed: Of the order of each annotator.
        boxes: Whether people may draw boxes beside their answer.
        password: With one, people log in by their name and the password.
        host: Address to listen at; None for what the environment says, as on a Space.
        port: Port; None for the first free one from 7860 on.
        at: Told the address of the page.

    Raises:
        ValueError: The folder or the file of answers cannot be used, or the extra ``annotate`` is not installed.
        OSError: The port is in use.
    """
    try:
        from hf_guidance.apps.annotation.page import AnnotationPage
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is not installed; run `pip install 'hf-guidance[annotate]'`.") from error
    with opened(folder, answers, kind=kind) as (items, store):
        asked = kind(folder, question) if question else items
        page = AnnotationPage(
            asked, store, seed=seed, annotators=annotators, boxes=boxes, password=password, folder=folder
        )  # fmt: skip
        try:
            at(page.open(host, port))
            threading.Event().wait()
        finally:
            page.close()

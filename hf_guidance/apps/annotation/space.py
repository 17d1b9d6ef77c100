"""The page as a Space of the Hub: a folder that is uploaded as it is."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from hf_guidance.apps.annotation.items.folder import AnnotationFolder
from hf_guidance.apps.annotation.items.image_folder import ImageFolder
from hf_guidance.common.whole_file import free_place, whole_folder

__all__ = ["write_space"]

_APP = '''\
"""The annotation page of hf_guidance, as a Space."""

import os
from pathlib import Path

from hf_guidance.apps.annotation.serving import serve
from {module} import {kind}

HERE = Path(__file__).resolve().parent
KEPT = Path("/data")  # the disk of a Space that outlives a restart, where it has one
ANSWERS = (KEPT if os.access(KEPT, os.W_OK) else HERE) / "answers.sqlite"

if __name__ == "__main__":
    serve(
        HERE / "items",
        kind={kind},
        answers=ANSWERS,
        question={question!r},
        boxes={boxes!r},
        seed={seed!r},
        annotators={annotators!r},
        password=os.environ.get("ANNOTATE_PASSWORD"),
        host=None,
    )
'''
_CARD = """\
---
title: {title}
sdk: gradio
sdk_version: {gradio}
app_file: app.py
pinned: false
---
`app.py` is the page of hf_guidance, on which people answer questions about images.{hidden}

Answers are kept in `/data/answers.sqlite` where the Space has a persistent disk; without one they are lost when it restarts, so
add a disk before you ask people. The secret `ANNOTATE_PASSWORD`, if it is set, is the password that they log in with.
"""


_HIDDEN = """

Make this Space private: its files tell which model is which, and the page must not."""


def write_space(
    folder: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    kind: type[ImageFolder] = AnnotationFolder,
    question: str | None = None,
    boxes: bool = False,
    seed: int = 0,
    annotators: Sequence[str] | None = None,
) -> Path:
    """Write a folder that runs as a Space: app.py, requirements.txt, README.md, and the items. Answers are left out.

    Args:
        folder: What is asked about.
        target: Where to write: whole or absent.
        kind: What reads the folder.
        question: What is asked, in place of the folder's words.
        boxes: Whether people may draw boxes.
        seed: Of the order of each annotator.
        annotators: The names that are allowed; None for any.

    Returns:
        The folder written.

    Raises:
        ValueError: The folder of items cannot be used, the target is not empty, or gradio is not installed.
    """
    items, place = kind(folder, question), free_place(target)
    try:
        gradio = metadata.version("gradio")
    except metadata.PackageNotFoundError as error:
        raise ValueError("gradio is not installed; run `pip install 'hf-guidance[annotate]'`.") from error
    app = _APP.format(
        module=kind.__module__, kind=kind.__qualname__, question=question, boxes=boxes, seed=seed,
        annotators=None if annotators is None else list(annotators),
    )  # fmt: skip
    with whole_folder(place) as draft:
        (draft / "app.py").write_text(app, encoding="utf-8")
        (draft / "requirements.txt").write_text("hf-guidance[annotate]\n", encoding="utf-8")
        (draft / "README.md").write_text(
            _CARD.format(
                gradio=gradio, title=json.dumps(kind.scale.title), hidden=_HIDDEN if kind.scale.mirrored else ""
            ),
            encoding="utf-8",
        )
        for name in items.files():
            copy = draft / "items" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(items.folder / name, copy)
    return place

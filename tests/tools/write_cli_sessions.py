"""Run one session of every command of hf-guidance, and write them down: `make sessions` makes docs/command-line.md.

The sessions run in a folder of their own, on a tiny model and a few drawn images. What a trainer logs, which holds timings, is
left out, and long texts are cut.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "command-line.md"
DATA = {"train_size": 200, "validation_size": 0, "test_size": 40, "image_size": 32, "digit_size": 16}
CONFIG = f"""\
dataset: digits_on_photos
builder_config: {json.dumps(DATA).replace('"', "")}
model_config: {{embedding_size: 16, hidden_sizes: [16, 32], depths: [1, 1], layer_type: basic}}
image_size: 32
objective: Energy
attribution: GradCAM
weight: 2.0
learning_rate: 2e-3
per_device_train_batch_size: 20
save_strategy: no
output_dir: runs/digits
"""
HEAD = """\
# The command line
Made by `make sessions`; do not edit. Every session was run as it stands here, on a tiny model, so the figures mean nothing.

`pip install hf-guidance` brings `hf-guidance`. Results go to standard output (with `--json` as JSON), progress to standard
error; an error is one line, and `--debug` shows where it came from.

| exit code | means |
|---|---|
| 0 | done |
| 1 | it failed: one line on standard error says why; a file, a model or a dataset is not there, or does not fit |
| 2 | wrong usage: an option or a name (a split, a layer, a class, a metric) that does not exist, or a value that does not fit |
| 130, 143 | interrupted (Ctrl-C), terminated (SIGTERM): nothing half-written is left |
"""
SECTIONS = {
    "train": "A YAML file, options, or both: options override the file. `train.yaml` in the output folder holds what the "
    "training ran with, and can be given again. With `--task question-answering` options are those of questions over boxes.",
    "evaluate": "The metrics of the task and of the maps, by default of the attribution that the checkpoint was guided by.",
    "explain": "A picture for every image, and `explanations.json`. A run that was stopped goes on with `--resume`.",
    "annotate": "A page that asks people yes or no about maps, or about patches of neurons ([annotating](annotating.md)).",
    "trust-study": "A page that asks people which of two models looks at better places ([trust study](trust-study.md)).",
    "publish": "What is sent, what is not, and the card; without `--dry-run` it is sent, as one commit.",
    "models": "What is supported; with a name a model is built, with random weights, and tried.",
    "metrics": "The metrics that come with the library; with a name the card of one.",
}
MORE = {
    "train": ["cat digits.yaml", "hf-guidance train --config digits.yaml --num_train_epochs 2 --use_cpu"],
    "evaluate": [
        f"hf-guidance evaluate runs/digits --dataset digits_on_photos --builder-config '{json.dumps(DATA)}'",
        "hf-guidance evaluate runs/digits --dataset digits_on_photos --attribution GradCM",
    ],
    "explain": ["hf-guidance explain runs/digits photos --output maps --device cpu", "ls maps"],
    "annotate": [
        "cat answers.json",
        "hf-guidance annotate to_answer --import answers.json --imported-as anna",
        "hf-guidance annotate to_answer --export answers",
        "hf-guidance annotate to_answer --space my_space",
        "ls my_space",
    ],
    "trust-study": ["hf-guidance trust-study trust --export ratings", "ls ratings"],
    "publish": ["hf-guidance publish runs/digits me/digits --dry-run"],
    "models": ["hf-guidance models", "hf-guidance models runs/digits", "hf-guidance models vitt"],
    "metrics": ["hf-guidance metrics"],
}
"""Command of hf-guidance to its session."""
LONGEST = 45  # lines of what a command says


def page() -> str:
    """The text of docs/command-line.md."""
    parts = [HEAD]
    with _workplace():
        parts.append(_session(["hf-guidance --help"]))
        for command, text in SECTIONS.items():
            parts.append(f"\n## {command}\n{text}\n\n{_session(MORE[command])}")
            parts.append(f"\nAll options:\n\n{_session([f'hf-guidance {command} --help'], longest=200)}")
    return "".join(parts)


def comparable(text: str) -> str:
    """The text without what differs from machine to machine: numbers, and how far they are from what stands before them."""
    return re.sub(r" +", " ", re.sub(r"\d[\d.,]*", "#", text))


@contextlib.contextmanager
def _workplace() -> Iterator[None]:
    before, columns = Path.cwd(), os.environ.get("COLUMNS")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["COLUMNS"] = "80"
        os.chdir(folder)
        try:
            _prepare(Path(folder))
            yield
        finally:
            os.chdir(before)
            os.environ.pop("COLUMNS")
            if columns is not None:
                os.environ["COLUMNS"] = columns


def _prepare(folder: Path) -> None:
    import numpy as np

    from hf_guidance import dataset_builder
    from hf_guidance.apps.annotation import AnswerStore, Desk, write_annotation_folder
    from hf_guidance.apps.trust_study import ComparisonFolder, write_comparison_folder

    (folder / "digits.yaml").write_text(CONFIG)
    (folder / "photos").mkdir()
    builder = dataset_builder("digits_on_photos", **DATA)
    builder.download_and_prepare()
    for row, name in zip(builder.as_dataset("test"), ("first.png", "second.png"), strict=False):
        row["image"].save(folder / "photos" / name)
    (folder / "photos" / "third.png").write_bytes(b"cut off")
    (folder / "answers.json").write_text('["yes", "no", "maybe", null]\n')
    rows = builder.as_dataset("test").select(range(4))
    write_annotation_folder(rows, np.ones((4, 7, 7), np.float32), folder / "to_answer")
    maps = {name: np.ones((4, 7, 7), np.float32) for name in ("before", "after")}
    items = ComparisonFolder(write_comparison_folder(rows, maps, folder / "trust"))
    with AnswerStore(items.folder / "answers.sqlite", items.fingerprint, len(items), items.scale) as store:
        for name in ("anna", "ben"):
            sitting = Desk(items, store).sit(name, tab="")
            for points in ("2", "1", "0", "-1"):
                sitting.answer(sitting.shown, points)


def _session(lines: list[str], longest: int = LONGEST) -> str:
    return "```text\n" + "".join(f"$ {line}\n{_said(line, longest)}" for line in lines) + "```\n"


def _said(line: str, longest: int) -> str:
    words = shlex.split(line)
    if words[0] == "cat":
        return Path(words[1]).read_text()
    if words[0] == "ls":
        return "  ".join(sorted(path.name for path in Path(words[1]).iterdir())) + "\n"
    from hf_guidance.apps.cli.entry import run

    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        code = run(words[1:])
    said = [text for text in shown.getvalue().splitlines() if not text.startswith("{'")]  # what a trainer logs
    if len(said) > longest:
        said = [*said[: longest - 1], f"[{len(said) - longest} more lines]", said[-1]]
    if code:
        said.append(f"[exit code {code}]")
    return "\n".join(said) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else PAGE).write_text(page())

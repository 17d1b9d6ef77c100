"""``hf-guidance annotate``: a page that asks people yes or no about images, and what becomes of their answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hf_guidance.apps.cli.application import AsJson, Command, Debug, app, option
from hf_guidance.apps.cli.asking import (
    Annotators,
    Answers,
    Host,
    Password,
    Port,
    Question,
    Seed,
    Space,
    check_one_ending,
    names_of,
    refuse_password,
    serve_page,
)
from hf_guidance.apps.cli.output import at_work, give

EPILOG = """
\b
Examples:
  hf-guidance annotate to_answer --question "Does the model look at the bird?"
  hf-guidance annotate to_answer --annotators anna,ben --host 0.0.0.0 \\
      --password swordfish
  hf-guidance annotate to_answer --export answers
  hf-guidance annotate to_answer --space my_space

FOLDER holds items.json, images, and maps.npy or patches; write_annotation_folder and write_patch_folder of
hf_guidance.apps.annotation make it. Keys: y yes, n no, u unsure, b back. Every answer is on disk, in FOLDER/answers.sqlite,
before the next image is shown. The page listens at 127.0.0.1, this computer alone, unless --host says otherwise; then give a
password, too, best by the variable HF_GUIDANCE_PASSWORD, since others see the words of a command.
"""


@app.command("annotate", cls=Command, epilog=EPILOG, short_help="Ask people yes or no about where a model looks.")
def annotate(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Images with maps, or with patches of neurons.")],
    question: Question = None,
    annotators: Annotators = None,
    boxes: Annotated[bool, typer.Option("--boxes", help="Let people draw boxes beside their answer.")] = False,
    seed: Seed = 0,
    answers: Answers = None,
    host: Host = "127.0.0.1",
    port: Port = None,
    password: Password = None,
    export: Annotated[
        Path | None, option("FOLDER", "Write the answers as Parquet and as the paper's JSON, and end.")
    ] = None,
    take_in: Annotated[
        Path | None, typer.Option("--import", metavar="FILE", help="Take in the paper's JSON, and end.")
    ] = None,
    imported_as: Annotated[str, option("NAME", "Annotator that --import is kept as.")] = "imported",
    space: Space = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Open a page that asks people yes or no about images; or export their answers, take some in, or write a Space."""
    check_one_ending({"--export": export, "--import": take_in, "--space": space})
    with at_work(["datasets"]):
        from hf_guidance.apps.annotation.space import write_space

        if space is not None:
            done: dict[str, object] = {"folder": str(space)}
            refuse_password(password)
            write_space(folder, space, question=question, boxes=boxes, seed=seed, annotators=names_of(annotators))
        elif export is not None:
            done = _exported(folder, answers, export)
        elif take_in is not None:
            done = _imported(folder, answers, take_in, imported_as)
        else:
            done = {}
            serve_page(
                folder, question=question, answers=answers, annotators=annotators, seed=seed, boxes=boxes,
                password=password, host=host, port=port,
            )  # fmt: skip
    give(
        done
        if as_json
        else "\n".join(f"{name}: {'not defined' if value is None else value}" for name, value in done.items())
    )


def _exported(folder: Path, answers: Path | None, target: Path) -> dict[str, object]:
    from hf_guidance.apps.annotation.agreement import agreement
    from hf_guidance.apps.annotation.export import answer_table, export_answers
    from hf_guidance.apps.annotation.items.folder import AnnotationFolder
    from hf_guidance.apps.annotation.serving import opened

    with opened(folder, answers, kind=AnnotationFolder, read_only=True) as (items, store):
        export_answers(items.ids, store, target, maps=items.maps_fingerprint)
        agreed = answer_table(items.ids, store)["answer"][:]
        figures = agreement(store.columns())
    counts = {word: agreed.count(word) for word in ("yes", "no", "maybe")} | {"unanswered": agreed.count(None)}
    kappa = {f"kappa of {first} and {second}": value for (first, second), value in figures.kappa.items()}
    return {"folder": str(target), **counts, **kappa, "alpha": figures.alpha}


def _imported(folder: Path, answers: Path | None, file: Path, name: str) -> dict[str, object]:
    from hf_guidance.apps.annotation.export import import_answers
    from hf_guidance.apps.annotation.items.folder import AnnotationFolder
    from hf_guidance.apps.annotation.serving import opened

    with opened(folder, answers, kind=AnnotationFolder) as (items, store):
        return {"answers taken in": import_answers(file, store, len(items), name), "as": name}

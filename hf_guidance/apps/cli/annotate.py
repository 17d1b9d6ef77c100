"""``hf-guidance annotate``: a page that asks people yes or no about images, and what becomes of their answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hf_guidance.apps.cli.application import AsJson, Command, Debug, app, option, refuse
from hf_guidance.apps.cli.output import at_work, give, say

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

Text = str | None


@app.command("annotate", cls=Command, epilog=EPILOG, short_help="Ask people yes or no about where a model looks.")
def annotate(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Images with maps, or with patches of neurons.")],
    question: Annotated[Text, option("TEXT", "What is asked, in place of the folder's words.")] = None,
    annotators: Annotated[Text, option("NAMES", "Names that may answer, with commas; else any.")] = None,
    boxes: Annotated[bool, typer.Option("--boxes", help="Let people draw boxes beside their answer.")] = False,
    seed: Annotated[int, option("N", "Another seed, other orders of the images.")] = 0,
    answers: Annotated[Path | None, option("FILE", "File of answers; else FOLDER/answers.sqlite.")] = None,
    host: Annotated[str, option("ADDRESS", "Where to listen; 0.0.0.0 is all networks.")] = "127.0.0.1",
    port: Annotated[int | None, option("PORT", "Else the first free one from 7860.", min=1, max=65535)] = None,
    password: Annotated[
        Text, typer.Option(metavar="TEXT", envvar="HF_GUIDANCE_PASSWORD", help="People log in by name and this.")
    ] = None,
    export: Annotated[
        Path | None, option("FOLDER", "Write the answers as Parquet and as the paper's JSON, and end.")
    ] = None,
    take_in: Annotated[
        Path | None, typer.Option("--import", metavar="FILE", help="Take in the paper's JSON, and end.")
    ] = None,
    imported_as: Annotated[str, option("NAME", "Annotator that --import is kept as.")] = "imported",
    space: Annotated[Path | None, option("FOLDER", "Write the page as a Space of the Hub, and end.")] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Open a page that asks people yes or no about images; or export their answers, take some in, or write a Space."""
    ending = {"--export": export, "--import": take_in, "--space": space}
    given = [name for name, value in ending.items() if value is not None]
    if len(given) > 1:
        refuse(f"{' and '.join(given)} are commands of their own; give one.", given[1])
    names = None if annotators is None else [name.strip() for name in annotators.split(",")]
    with at_work(["datasets"]):
        from hf_guidance.apps.annotation import serving
        from hf_guidance.apps.annotation import space as spaces

        if space is not None:
            done: dict[str, object] = {"folder": str(space)}
            spaces.write_space(folder, space, question=question, boxes=boxes)
        elif export is not None:
            done = _exported(folder, answers, export)
        elif take_in is not None:
            done = _imported(folder, answers, take_in, imported_as)
        else:
            if host not in ("127.0.0.1", "localhost", "::1") and not password:
                say(f"{host} can be reached from other computers, and there is no password: everybody there may answer")
            serving.serve(
                folder, question=question, answers=answers, annotators=names, seed=seed, boxes=boxes, password=password,
                host=host, port=port, at=lambda address: say(f"open {address}, end by Ctrl-C"),
            )  # fmt: skip
    give(
        done
        if as_json
        else "\n".join(f"{name}: {'not defined' if value is None else value}" for name, value in done.items())
    )


def _exported(folder: Path, answers: Path | None, target: Path) -> dict[str, object]:
    from hf_guidance.apps.annotation.agreement import agreement
    from hf_guidance.apps.annotation.export import answer_table, export_answers
    from hf_guidance.apps.annotation.serving import opened

    with opened(folder, answers, read_only=True) as (items, store):
        export_answers(items.ids, store, target, maps=items.maps_fingerprint)
        agreed = answer_table(items.ids, store)["answer"][:]
        figures = agreement(store.columns())
    counts = {word: agreed.count(word) for word in ("yes", "no", "maybe")} | {"unanswered": agreed.count(None)}
    kappa = {f"kappa of {first} and {second}": value for (first, second), value in figures.kappa.items()}
    return {"folder": str(target), **counts, **kappa, "alpha": figures.alpha}


def _imported(folder: Path, answers: Path | None, file: Path, name: str) -> dict[str, object]:
    from hf_guidance.apps.annotation.export import import_answers
    from hf_guidance.apps.annotation.serving import opened

    with opened(folder, answers) as (items, store):
        return {"answers taken in": import_answers(file, store, len(items), name), "as": name}

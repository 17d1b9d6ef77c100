"""``hf-guidance trust-study``: a page that asks people which of two models looks at more reasonable places."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

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
  hf-guidance trust-study trust
  hf-guidance trust-study trust --annotators anna,ben --host 0.0.0.0 \\
      --password swordfish
  hf-guidance trust-study trust --export ratings

FOLDER holds items.json, images and maps.npy; write_comparison_folder of hf_guidance.apps.trust_study makes it. People see the
maps of both models as "Model 1" and "Model 2", whose places are drawn for each person, half and half. Keys: 1 Model 1 is
clearly better, 2 slightly, 3 equal, 4 Model 2 slightly, 5 clearly, b back. Every rating is on disk, in FOLDER/answers.sqlite,
before the next comparison is shown. --export prints which model is preferred, with bootstrap confidence intervals.
"""


@app.command("trust-study", cls=Command, epilog=EPILOG, short_help="Ask people which of two models looks right.")
def trust_study(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Images with the maps of two models.")],
    question: Question = None,
    annotators: Annotators = None,
    seed: Seed = 0,
    answers: Answers = None,
    host: Host = "127.0.0.1",
    port: Port = None,
    password: Password = None,
    export: Annotated[
        Path | None, option("FOLDER", "Write the ratings as Parquet and which model they prefer, and end.")
    ] = None,
    space: Space = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Open a page that asks people which of two models looks at more reasonable places; or export what they said."""
    check_one_ending({"--export": export, "--space": space})
    with at_work(["datasets"]):
        from hf_guidance.apps.annotation.space import write_space
        from hf_guidance.apps.trust_study import ComparisonFolder

        if space is not None:
            refuse_password(password)
            names = names_of(annotators)
            write_space(folder, space, kind=ComparisonFolder, question=question, seed=seed, annotators=names)
            done, text = {"folder": str(space)}, f"folder: {space}"
        elif export is not None:
            done, text = _exported(folder, answers, export)
        else:
            done, text = {}, ""
            serve_page(
                folder, kind=ComparisonFolder, question=question, answers=answers, annotators=annotators, seed=seed,
                password=password, host=host, port=port,
            )  # fmt: skip
    give(done if as_json else text)


def _exported(folder: Path, answers: Path | None, target: Path) -> tuple[dict[str, Any], str]:
    """What the ratings say, for programs and for people."""
    from hf_guidance.apps.annotation.serving import opened
    from hf_guidance.apps.trust_study import ComparisonFolder, export_ratings

    with opened(folder, answers, kind=ComparisonFolder, read_only=True) as (items, store):
        found = export_ratings(items, store, target)
    told = "not defined" if found.alpha is None else f"{found.alpha:.3f}"
    done = {"folder": str(target), **asdict(found.preference), "krippendorff_alpha": found.alpha}
    return done, f"folder: {target}\n{found.preference}\nKrippendorff's alpha (ordinal): {told}"

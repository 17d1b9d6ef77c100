"""``hf-guidance explain``: where a model looks in images, as pictures and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hf_guidance.apps.cli.application import AsJson, Command, Debug, Device, app, check_known, option, refuse
from hf_guidance.apps.cli.output import at_work, give, say

EPILOG = """
\b
Examples:
  hf-guidance explain runs/digits photos/ --output maps
  hf-guidance explain microsoft/resnet-50 cat.jpg dog.jpg --output maps \\
      --attribution GradCAM --top-k 3
  hf-guidance explain runs/voc photos/ --output maps --target dog --maps npy
  hf-guidance explain runs/digits photos/ --output maps --resume

A PNG is written for every image, and explanations.json with classes and scores of all. Without --attribution that of the first
term in the checkpoint's guidance.json is taken, or else what suits the model. An image that cannot be read is named, and makes
exit code 1 at the end, unless --skip-unreadable is given. What was done when a run was stopped is kept by --resume, but for
images that have changed. Of folders, hidden files and files without the ending of an image are left out.

Where a class is named by digits, number:1 is class 1 and label:1 the class of this name.
"""


Text = str | None


@app.command("explain", cls=Command, epilog=EPILOG, short_help="Draw where a model looks in images.")
def explain(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Folder of a checkpoint, or Hub id.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES", help="Files, or folders of files.")],
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Where pictures and explanations.json go.")],
    attribution: Annotated[Text, option("NAME", "Class of hf_guidance.attributions, as GradCAM.")] = None,
    layer: Annotated[Text, option("LAYER", "input, mid1, mid2, mid3, final, or a module path.")] = None,
    target: Annotated[Text, option("CLASS", "Name or number of the class; else the predicted one.")] = None,
    top_k: Annotated[int | None, option("N", "Explain that many of the highest classes.", min=1)] = None,
    maps: Annotated[str, option("FORMAT", "Write the maps' numbers, too: none, npy or safetensors.")] = "none",
    revision: Annotated[Text, option("REVISION", "Branch, tag or commit of a Hub id.")] = None,
    batch_size: Annotated[int | None, option("N", "Images per call of the model.", min=1)] = None,
    device: Device = "auto",
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Images that cannot be read are no failure.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Keep the results that are there, and go on.")] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Explain images: a picture of where the model looks for a class, and the class with its score."""
    if target is not None and top_k is not None:
        refuse("--target says which class, --top-k takes the highest; give one of the two.", "--top-k")
    with at_work():
        from hf_guidance.apps.cli.explained_files import MAPS, Settings, explained

        check_known(maps, MAPS, "--maps")
        given = Settings(
            model, revision, output, attribution, layer, target, top_k, maps, batch_size, device, resume
        )  # fmt: skip
        result = explained(images, given)
        if result.kept:
            say(f"{result.kept} images were done before")
    give(result.summary if as_json else result.table())
    if result.unreadable:
        say(
            f"{len(result.unreadable)} of {len(result.unreadable) + len(result.summary['explanations'])} images cannot be read"
        )
        if not skip_unreadable:
            raise typer.Exit(1)

"""``hf-guidance evaluate``: task metrics and grounding of a checkpoint on a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hf_guidance.apps.cli.application import AsJson, Command, Debug, Device, app
from hf_guidance.apps.cli.output import at_work, give, say, write_json

EPILOG = """
\b
Examples:
  hf-guidance evaluate runs/digits --dataset digits_on_photos
  hf-guidance evaluate me/voc --dataset pascal_voc \\
      --data-dir VOCdevkit/VOC2007 --attribution InputXGradient --layer input
  hf-guidance evaluate runs/mine --dataset my_images --bbox-format xywh \\
      --metrics epg,attribution_iou --json
  hf-guidance evaluate runs/vqa --dataset shapes_vqa --split test_ood

Grounding is measured with the attribution of the first term in the checkpoint's guidance.json, unless --attribution is given.
Underscores do for dashes.
"""


@app.command("evaluate", cls=Command, epilog=EPILOG, short_help="Measure a checkpoint on a dataset.")
def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Folder of a checkpoint, or Hub id.")],
    dataset: Annotated[str, typer.Option(metavar="DATASET", help="A builder's name, a folder, or a Hub id.")],
    split: Annotated[str, typer.Option(metavar="SPLIT", help="Split that is evaluated.")] = "test",
    data_dir: Annotated[str | None, typer.Option(metavar="FOLDER", help="Raw files of the builder.")] = None,
    builder_config: Annotated[str, typer.Option(metavar="JSON", help="Options of the builder.")] = "{}",
    revision: Annotated[str | None, typer.Option(metavar="REVISION", help="Branch, tag or commit of a Hub id.")] = None,
    attribution: Annotated[
        str | None, typer.Option(metavar="NAME", help="Class of hf_guidance.attributions, as GradCAM.")
    ] = None,
    layer: Annotated[
        str | None, typer.Option(metavar="LAYER", help="input, mid1, mid2, mid3, final, or a module path.")
    ] = None,
    metrics: Annotated[
        str, typer.Option(metavar="NAMES", help="Metrics of maps, separated by commas; see `hf-guidance metrics`.")
    ] = "epg,attribution_iou,pointing_game",
    problem_type: Annotated[
        str | None, typer.Option(metavar="TYPE", help="Where the model's configuration does not say it.")
    ] = None,
    bbox_format: Annotated[str, typer.Option(metavar="FORMAT", help="xyxy, or xywh (COCO, imagefolders).")] = "xyxy",
    names: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Classes of rows with objects and no labels, by commas.")
    ] = None,
    source: Annotated[
        str, typer.Option(metavar="SOURCE", help="Importance from boxes, mask, importance, or auto.")
    ] = "auto",
    regions: Annotated[
        str | None, typer.Option(metavar="FILES", help="Region features for questions, separated by commas.")
    ] = None,
    threshold: Annotated[
        float, typer.Option(metavar="NUMBER", help="A box of a question is important above it.")
    ] = 0.85,
    batch_size: Annotated[int, typer.Option(metavar="N", min=1, help="Images or questions in a batch.")] = 16,
    device: Device = "auto",
    as_json: AsJson = False,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the results there, as JSON.")] = None,
    debug: Debug = False,
) -> None:
    """Measure a checkpoint on a dataset: the metrics of its task, and how well its maps agree with the annotations."""
    with at_work():
        from hf_guidance.apps.cli.measuring import Choices, measured

        choices = Choices(
            dataset=dataset,
            split=split,
            data_dir=data_dir,
            builder_config=builder_config,
            attribution=attribution,
            layer=layer,
            metrics=_listed(metrics),
            problem_type=problem_type,
            bbox_format=bbox_format,
            names=_listed(names),
            source=source,
            regions=_listed(regions),
            threshold=threshold,
            batch_size=batch_size,
            device=device,
        )
        results = measured(model, revision, choices)
        if output is not None:
            write_json(output, results.plain())
            say(f"written: {output}")
    give(results.plain() if as_json else results.table())


def _listed(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]

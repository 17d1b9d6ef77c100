"""``hf-guidance evaluate``: task metrics and grounding of a checkpoint on a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hf_guidance.apps.cli.application import AsJson, Command, Debug, Device, app, check_json, check_output, option
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
Options that would do nothing are refused: --regions and --threshold are for questions; --metrics, --problem-type, --bbox-format
and --names are for images.
Names of options may have underscores for dashes.
"""


Text = str | None


@app.command("evaluate", cls=Command, epilog=EPILOG, short_help="Measure a checkpoint on a dataset.")
def evaluate(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Folder of a checkpoint, or Hub id.")],
    dataset: Annotated[str, option("DATASET", "A builder's name, a folder, or a Hub id.")],
    split: Annotated[str, option("SPLIT", "Split that is evaluated.")] = "test",
    data_dir: Annotated[Text, option("FOLDER", "Raw files of the builder.")] = None,
    builder_config: Annotated[str, option("JSON", "Options of the builder.")] = "{}",
    revision: Annotated[Text, option("REVISION", "Branch, tag or commit of a Hub id.")] = None,
    attribution: Annotated[Text, option("NAME", "Class of hf_guidance.attributions, as GradCAM.")] = None,
    layer: Annotated[Text, option("LAYER", "input, mid1, mid2, mid3, final, or a module path.")] = None,
    metrics: Annotated[
        str, option("NAMES", "Metrics of maps, and rrr, by commas; see `hf-guidance metrics`.")
    ] = "epg,attribution_iou,pointing_game",
    problem_type: Annotated[Text, option("TYPE", "Where the model's configuration does not say it.")] = None,
    bbox_format: Annotated[str, option("FORMAT", "xyxy, or xywh (COCO, imagefolders).")] = "xyxy",
    names: Annotated[Text, option("NAMES", "Classes of rows with objects and no labels, by commas.")] = None,
    source: Annotated[str, option("SOURCE", "Importance from boxes, mask, importance, or auto.")] = "auto",
    regions: Annotated[Text, option("FILES", "Region features for questions, by commas.")] = None,
    threshold: Annotated[float, option("NUMBER", "A box of a question is important above it.")] = 0.85,
    batch_size: Annotated[int, option("N", "Images or questions in a batch.", min=1)] = 16,
    device: Device = "auto",
    as_json: AsJson = False,
    output: Annotated[Path | None, option("FILE", "Write the results there, as JSON.")] = None,
    debug: Debug = False,
) -> None:
    """Measure a checkpoint on a dataset: the metrics of its task, and how well its maps agree with the annotations."""
    check_json(builder_config, "--builder-config")
    if output is not None:
        check_output(output)
    with at_work():
        from hf_guidance.apps.cli.measuring import Choices, measured

        choices = Choices(
            dataset=dataset, split=split, data_dir=data_dir, builder_config=builder_config, attribution=attribution,
            layer=layer, metrics=_listed(metrics), problem_type=problem_type, bbox_format=bbox_format,
            names=_listed(names), source=source, regions=_listed(regions), threshold=threshold, batch_size=batch_size,
            device=device, given=_given(context),
        )  # fmt: skip
        results = measured(model, revision, choices)
        if output is not None:
            write_json(output, results.plain())
            say(f"written: {output}")
    give(results.plain() if as_json else results.table())


def _given(context: typer.Context) -> frozenset[str]:
    """The names of the options that stand on the command line."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return frozenset(name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE")


def _listed(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]

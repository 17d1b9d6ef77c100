"""``hf-guidance metrics``: the metrics of this library, and the card of one."""

from __future__ import annotations

from typing import Annotated

import typer

from hf_guidance.apps.cli.application import AsJson, Command, Debug, app, check_known
from hf_guidance.apps.cli.output import columns, give

EPILOG = """
\b
Examples:
  hf-guidance metrics
  hf-guidance metrics epg

In Python: evaluate.load(hf_guidance.metric_path("epg")).
"""


@app.command("metrics", cls=Command, epilog=EPILOG, short_help="List the metrics, or print the card of one.")
def metrics(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Metric whose card is printed.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List the metrics with one line each, or print the card of one: what it measures, takes and gives."""
    from hf_guidance.common.shipped_folders import shipped_folders

    folders = shipped_folders("metrics")
    if name is not None:
        head, card = _card((folders[check_known(name, sorted(folders), "NAME")] / "README.md").read_text("utf-8"))
        give({"name": name, **head, "card": card} if as_json else card)
        return
    lines = {metric: _card((folders[metric] / "README.md").read_text("utf-8"))[0] for metric in sorted(folders)}
    if as_json:
        give({metric: head["description"] for metric, head in lines.items()})
        return
    give(columns({metric: head["description"] for metric, head in lines.items()}))


def _card(text: str) -> tuple[dict[str, str], str]:
    import yaml

    _, head, card = text.split("---\n", 2)
    found = yaml.safe_load(head)
    return {key: " ".join(str(found[key]).split()) for key in ("title", "description")}, card.strip()

"""``hf-guidance models``: which models, attributions and objectives there are, and whether a model works."""

from __future__ import annotations

from typing import Annotated

import typer

from hf_guidance.apps.cli.application import AsJson, Command, Debug, app, refuse
from hf_guidance.apps.cli.output import at_work, give

EPILOG = """
\b
Examples:
  hf-guidance models
  hf-guidance models vit
  hf-guidance models timm/convnext_atto --layers
  hf-guidance models runs/digits
  hf-guidance models --attributions

A model is built with random weights from its configuration, so that no weights are downloaded, and one gradient is taken at
every layer. Exit code 1 where nothing of it can be explained.
"""


@app.command("models", cls=Command, epilog=EPILOG, short_help="List what is supported, or try a model.")
def models(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Model type, timm/NAME, folder or Hub id that is tried.")
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Try every module of the model as a layer.")] = False,
    attributions: Annotated[bool, typer.Option("--attributions", help="List the attributions.")] = False,
    objectives: Annotated[bool, typer.Option("--objectives", help="List the objectives.")] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List what is supported, or try a model: whether it works, and at which layers."""
    if bool(name) + attributions + objectives > 1:
        refuse("give a model, --attributions or --objectives, one of them.")
    if layers and not name:
        refuse("of which model? Give its name.", "--layers")
    with at_work():
        if name:
            from hf_guidance.apps.cli.model_trial import tried

            trial = tried(name, layers)
        else:
            from hf_guidance.apps.cli import lists

            kinds = {"attributions": attributions, "objectives": objectives}
            kind = next((kind for kind, asked in kinds.items() if asked), "families")
            listed = lists.LISTS[kind]()
    if name:
        give(trial.plain() if as_json else trial.table())
        if not trial.works:
            raise typer.Exit(1)
    else:
        give(listed if as_json else lists.text(kind, listed))

"""``hf-guidance publish``: a checkpoint to a repository of the Hub, or first a look at what would be published."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hf_guidance.apps.cli.application import AsJson, Command, Debug, app, refuse
from hf_guidance.apps.cli.output import at_work, give, say

EPILOG = """
\b
Examples:
  hf-guidance publish runs/digits me/digits --dry-run
  hf-guidance publish runs/digits me/digits --private
  hf-guidance publish runs/digits team/digits --create-pr --message "EPG 0.74"

Left out are the optimizer, states of random numbers, logs (runs, wandb, mlruns), earlier checkpoints, pickles such as
training_args.bin, links, and files that hold keys by their names (*.env, *.pem, id_rsa). A folder with a token in a file,
without weights or configuration, with weights that are cut short, or with JSON or a card that cannot be read is refused. The
files come in one commit: all of them or none. Log in before by `hf auth login`.
"""


@app.command("publish", cls=Command, epilog=EPILOG, short_help="Publish a checkpoint on the Hub.")
def publish(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A checkpoint, or the output_dir of a training.")],
    repo: Annotated[str, typer.Argument(metavar="REPO", help="Repository of the Hub, as organisation/name.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show files and card, and send nothing.")] = False,
    private: Annotated[bool, typer.Option("--private", help="If the repository is new, only you see it.")] = False,
    revision: Annotated[
        str | None, typer.Option(metavar="BRANCH", help="Branch that is written to; made if it is new.")
    ] = None,
    create_pr: Annotated[bool, typer.Option("--create-pr", help="Open a pull request instead.")] = False,
    message: Annotated[str, typer.Option(metavar="TEXT", help="Message of the commit.")] = "Upload a guided model",
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Publish a checkpoint with its model card and its guidance on the Hub."""
    if revision and create_pr:
        refuse("a pull request has a branch of its own; leave one of the two out.", "--create-pr")
    with at_work(["huggingface_hub"]):
        from hf_guidance.apps.cli.upload import card_of, checked_repo, published
        from hf_guidance.apps.cli.upload_plan import size_text, upload_plan

        name = checked_repo(repo)
        plan = upload_plan(folder)
        card = card_of(plan)
        if not plan.has_processor:
            say(
                f"{folder} has no image processor and no tokenizer, so that people cannot load it whole; save it there, too"
            )
        if dry_run:
            url = None
        else:
            say(f"sending {size_text(plan.bytes)} in {len(plan.files)} files to {name}")
            url = published(plan, name, card, private=private, revision=revision, create_pr=create_pr, message=message)
    if as_json:
        left_out = {path: why for path, (_, why) in plan.left_out.items()}
        give({"repo": name, "url": url, "files": dict(plan.files), "left_out": left_out, "card": card})
    elif dry_run:
        give(
            f"{plan.table()}\n\nmodel card (README.md):\n\n{card}\n\nnothing was sent; without --dry-run it goes to {name}"
        )
    else:
        give(url)

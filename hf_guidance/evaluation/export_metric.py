"""A metric in its published form: a Space with the script, a card, a widget and its requirements."""

from __future__ import annotations

import ast
import os
import shutil
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from huggingface_hub import SpaceCard, SpaceCardData

from hf_guidance.common.card_text import code, escaped, one_line, table
from hf_guidance.common.cards import filled_card
from hf_guidance.common.shipped_folders import script_of, shipped_folder
from hf_guidance.common.whole_file import whole_folder

_CARD, _APP, _REQUIREMENTS = "README.md", "app.py", "requirements.txt"
_MODEL = "epg"  # the metric of this library whose widget and version of gradio a new one takes
_TODO = "Name them here: what the metric cannot tell, and when it misleads."


def export_metric(
    script: str | os.PathLike[str], folder: str | os.PathLike[str], *, owner: str = "your-name", overwrite: bool = False
) -> Path:
    """Write a metric of your own as a Space of the Hub, from which ``evaluate.load("owner/name")`` loads it.

    The card is made of what the module says of itself: description, inputs, features, citation. A README.md or requirements.txt
    that lies beside the script is taken instead. The folder appears complete or not at all.

    Args:
        script: The evaluate module: ``<name>.py``, or the folder ``<name>`` that holds it.
        folder: Where to write.
        owner: Whose Space it will be, for the code in the card.
        overwrite: Replace a folder that is not empty.

    Returns:
        The folder.

    Raises:
        ValueError: There is no such script, or the folder is not empty and ``overwrite`` is False.

    Example:
        >>> export_metric("my_metric.py", "spaces/my_metric", owner="me")
        >>> huggingface_hub.upload_folder(repo_id="me/my_metric", repo_type="space", folder_path="spaces/my_metric")
    """
    given = Path(script).expanduser()
    file = script_of(given) if given.is_dir() else given
    if not file.is_file() or file.suffix != ".py":
        raise ValueError(f"script: {given} is no evaluate module; give <name>.py, or the folder <name> that holds it.")
    target = Path(folder).expanduser().absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())) and not overwrite:
        raise ValueError(f"folder: {target} is not empty; pass overwrite=True or another folder.")
    import evaluate  # imported here: it takes seconds

    module = evaluate.load(str(file))
    with whole_folder(target) as draft:
        shutil.copy(file, draft / file.name)
        shutil.copy(shipped_folder("metrics", _MODEL) / _APP, draft / _APP)  # the same for every metric
        made = {_CARD: _card(module, file.stem, owner), _REQUIREMENTS: _requirements(file)}
        for name, text in made.items():
            own = file.with_name(name)
            beside = own.is_file() and given.is_dir()
            (draft / name).write_text(own.read_text(encoding="utf-8") if beside else text, encoding="utf-8")
    return target


def _card(module: Any, name: str, owner: str) -> str:
    title = name.replace("_", " ").capitalize()
    description = str(module.description or "").strip()
    features = module.features if isinstance(module.features, dict) else {}
    data = SpaceCardData(
        title=title, sdk="gradio", sdk_version=_gradio(), app_file=_APP, tags=["evaluate", "metric"],
        emoji="🔦", colorFrom="blue", colorTo="green", pinned=False, description=one_line(description, 300) or None,
    )  # fmt: skip
    return filled_card(
        SpaceCard,
        "metric.md",
        data,
        title=escaped(title),
        description=description or "Say here what it measures.",
        repo=f"{owner}/{name}",
        arguments=", ".join(f"{key}={key}" for key in features),
        inputs=_block(module.inputs_description) or "The module has no inputs_description.",
        features=table(("input", "feature"), [(code(key), code(kind)) for key, kind in features.items()]),
        limitations=_TODO,
        references=[one_line(url) for url in module.reference_urls or ()],
        citation=_block(module.citation),
    )


def _block(text: str | None) -> str:
    return (text or "").strip().replace("```", "'''")


def _gradio() -> str:
    """The version of gradio that this library's own Spaces name."""
    return str(SpaceCard.load(shipped_folder("metrics", _MODEL) / _CARD).data.sdk_version)


def _requirements(file: Path) -> str:
    """The distributions of what the script imports."""
    imported = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported.add(node.module.split(".")[0])
    known = packages_distributions()
    names = {known.get(name, [name])[0] for name in imported - sys.stdlib_module_names}
    return "\n".join(sorted(names | {"evaluate"})) + "\n"

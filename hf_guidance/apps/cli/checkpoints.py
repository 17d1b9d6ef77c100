"""A checkpoint that a command works on: a folder or a Hub id, with its model, its processor and its guidance."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification, AutoTokenizer

import hf_guidance.models  # noqa: F401  # makes the models of this library known to the Auto classes
from hf_guidance.apps.cli.application import check_known, given_by, refuse
from hf_guidance.attributions import Attribution
from hf_guidance.families import family_of
from hf_guidance.guidance import GUIDANCE_FILE, Guidance
from hf_guidance.guidance.choice import attribution_by_name
from hf_guidance.models import with_channel_mask
from hf_guidance.models.shared.question_answerer import KINDS
from hf_guidance.views.layers import is_module

_SETTINGS = ("config.json", "preprocessor_config.json", "processor_config.json")
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint.

    Attributes:
        name: Folder or Hub id.
        config: The configuration of the model.
        revision: Branch, tag or commit of a Hub id.
    """

    name: str
    config: Any
    revision: str | None = None

    @property
    def answers_questions(self) -> bool:
        """Whether the model answers questions over boxes."""
        return self.config.model_type in KINDS

    def model(self) -> Any:
        """The model, in eval mode."""
        kind, _ = KINDS.get(self.config.model_type, (AutoModelForImageClassification, None))
        return with_channel_mask(kind.from_pretrained(self.name, revision=self.revision)).eval()

    def processor(self) -> Any:
        """The image processor, or for questions the tokenizer."""
        if self.answers_questions:
            return AutoTokenizer.from_pretrained(self.name, revision=self.revision)
        return AutoImageProcessor.from_pretrained(self.name, revision=self.revision)

    def guidance(self) -> Guidance | None:
        """What it was guided by; None where it has no guidance.json."""
        if Path(self.name).is_dir():
            there = (Path(self.name) / GUIDANCE_FILE).is_file()
        else:
            there = _on_hub(self.name, GUIDANCE_FILE, self.revision)
        return Guidance.from_pretrained(self.name, revision=self.revision) if there else None

    def weights(self) -> str:
        """Which weights these are: the commit of a Hub id, sizes and times of a folder's files."""
        files = sorted(file for ending in ("*.safetensors", "*.bin") for file in Path(self.name).glob(ending))
        known = [f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]
        return ", ".join(known) or str(getattr(self.config, "_commit_hash", None))

    def settings(self) -> str | None:
        """A fingerprint of the files of a folder that say how images are made ready and classes named; None of a Hub id."""
        there = [file for name in _SETTINGS if (file := Path(self.name) / name).is_file()]
        return hashlib.sha256(b"".join(file.read_bytes() for file in there)).hexdigest() if there else None

    def attribution(self, name: str | None, layer: str | None) -> Attribution | None:
        """The attribution that is asked for, or that of the first term of the guidance that has one.

        Args:
            name: Class of ``hf_guidance.attributions``; None for that of the guidance.
            layer: Where the map is taken; None for the attribution's own.

        Returns:
            The attribution; None where neither is given.

        Raises:
            typer.BadParameter: An unknown name, or a layer without an attribution.
        """
        if name is not None:
            return attribution_by_name(check_known(name, attribution_names(), "--attribution"), layer)
        guidance = self.guidance()
        for term in guidance.on_attributions.values() if guidance else ():
            own: Attribution = term.objective.attribution.by_place()  # type: ignore[attr-defined]
            return replace(own, layer=layer) if layer else own
        if layer is not None:
            refuse(
                f"{layer} of which attribution? {self.name} has none in a guidance.json; give --attribution.", "--layer"
            )
        return None


def check_layer(attribution: Attribution | None, model: Any) -> None:
    """Refuse a layer that a model does not have.

    Args:
        attribution: The attribution; None is not checked.
        model: The model.

    Raises:
        typer.BadParameter: There is no such layer.
    """
    if attribution is not None and is_module(attribution.layer):
        family = family_of(model)
        if family.images:
            with given_by("--layer"):
                family.path(attribution.layer, model)


def open_checkpoint(name: str, revision: str | None = None) -> Checkpoint:
    """Find a checkpoint, and read its configuration.

    Args:
        name: Folder or Hub id.
        revision: Branch, tag or commit of a Hub id.

    Returns:
        The checkpoint; its weights are not read yet.

    Raises:
        typer.BadParameter: A revision of a folder.
        ValueError: A folder without a model.
        OSError: There is no such repository, or the Hub cannot be reached.
    """
    folder = Path(name)
    if folder.is_dir() and revision is not None:
        refuse(f"{name} is a folder, and only repositories of the Hub have revisions; leave it out.", "--revision")
    if folder.is_dir() and not (folder / "config.json").is_file():
        inside = sorted(path.parent.name for path in folder.glob("*/config.json"))
        raise ValueError(
            f"{name} holds no model (no config.json)"
            + (
                f"; it has the folders {', '.join(inside)}: give one of them, as {folder / inside[0]}."
                if inside
                else "."
            )
        )
    if not folder.exists() and (name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise ValueError(f"{name} is no folder, and no Hub id (organisation/name).")
    try:
        config = AutoConfig.from_pretrained(name, revision=revision)
    except OSError as error:
        raise OSError(f"{name} cannot be loaded: {error}") from error
    return Checkpoint(name, config, revision)


def _on_hub(repo: str, file: str, revision: str | None) -> bool:
    """Whether a repository has a file; without the Hub, whether its copy here has it."""
    from huggingface_hub import file_exists, try_to_load_from_cache
    from huggingface_hub.errors import HTTPError

    try:
        return bool(file_exists(repo, file, revision=revision))
    except (HTTPError, OSError):  # offline too
        return isinstance(try_to_load_from_cache(repo, file, revision=revision), str)


def attribution_names() -> list[str]:
    """The attributions that have a name."""
    from hf_guidance import attributions

    found = ((name, getattr(attributions, name)) for name in attributions.__all__)
    return [name for name, kind in found if issubclass(kind, Attribution) and kind is not Attribution]


def checked_device(device: str) -> str:
    """Refuse a device that is unknown, or not there.

    Args:
        device: "auto", "cpu" or "cuda".

    Returns:
        "cpu" or "cuda", or another that torch prefers on this machine.

    Raises:
        typer.BadParameter: Unknown, or there is no GPU.
    """
    import torch

    check_known(device, DEVICES, "--device")
    if device == "cuda" and not torch.cuda.is_available():
        refuse("this machine has no GPU that torch can use; give cpu or auto.", "--device")
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device

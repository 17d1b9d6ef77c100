"""Explains files of images by ``hf_guidance.explain``, part by part, for ``hf-guidance explain``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hf_guidance.apps.cli.application import refuse
from hf_guidance.apps.cli.checkpoints import check_layer, checked_device, open_checkpoint
from hf_guidance.apps.cli.explained_folder import MAPS, PROGRESS, SUMMARY, ExplainedFolder
from hf_guidance.apps.cli.explained_target import check_target, target_of
from hf_guidance.apps.cli.image_files import content_of, image_files, refuse_to_overwrite
from hf_guidance.apps.cli.output import say
from hf_guidance.common.progress import progress_bar
from hf_guidance.common.whole_file import whole_file
from hf_guidance.evaluation import explain
from hf_guidance.evaluation.explaining.given import given_images
from hf_guidance.evaluation.explaining.targets import label_names
from hf_guidance.guidance.expression import method_text

_PART = 16  # images of one call of explain; what is done is on the disk after each


@dataclass(frozen=True)
class Settings:
    """The options of ``hf-guidance explain``; see there."""

    model: str
    revision: str | None
    output: Path
    attribution: str | None
    layer: str | None
    target: str | None
    top_k: int | None
    maps: str
    batch_size: int | None
    device: str
    resume: bool


@dataclass
class Explained:
    """What came of it.

    Attributes:
        summary: What explanations.json holds.
        output: The folder.
        unreadable: Image to the reason.
        kept: How many images were done before.
    """

    summary: dict[str, Any]
    output: Path
    unreadable: dict[str, str] = field(default_factory=dict)
    kept: int = 0

    def table(self) -> str:
        """A line per image."""
        lines = []
        for entry in self.summary["explanations"]:
            classes = ", ".join(f"{one['label']} {one['score']:.2f}" for one in entry["classes"])
            lines.append(f"{entry['image']}  {classes}  {self.output / entry['picture']}")
        return "\n".join(lines)


def explained(given: Sequence[Path], settings: Settings) -> Explained:
    """Explain images, and write a PNG for each, and explanations.json.

    Args:
        given: Files and folders.
        settings: The options.

    Returns:
        What came of it.

    Raises:
        typer.BadParameter: An option that does not exist, a class that the model does not have, or a folder with other results.
        ValueError: A model that cannot be explained.
    """
    if settings.output.resolve() in {path.resolve() for path in given}:
        refuse("results may not lie among the images; name another folder.", "--output")
    files, names = image_files(given, settings.output)
    refuse_to_overwrite(names, settings.output)
    device, checkpoint = checked_device(settings.device), open_checkpoint(settings.model, settings.revision)
    attribution = checkpoint.attribution(settings.attribution, settings.layer)
    labels = label_names(checkpoint)
    target = target_of(settings.target, labels)
    check_target(target, settings.top_k, labels)
    facts = {
        "model": settings.model,
        "weights": checkpoint.weights(),
        "settings": checkpoint.settings(),
        "attribution": method_text(attribution),
        "target": target,
        "top_k": settings.top_k,
        "maps": settings.maps,
    }
    folder = ExplainedFolder(settings.output, facts, settings.resume)
    contents = {str(file): content_of(file) for file in files}
    left = folder.left(contents, {str(file): name for file, name in names.items()})
    result = Explained({}, settings.output, kept=len(files) - len(left))
    if left:
        model, processor = checkpoint.model().to(device), checkpoint.processor()
        check_layer(attribution, model)
        options: dict[str, Any] = {
            "attribution": attribution,
            "target": target,
            "top_k": settings.top_k,
            "batch_size": settings.batch_size,
        }
        for found in _parts(left, result.unreadable, lambda part: explain(model, part, processor, **options)):
            for one in found.by_image():
                folder.add(_written(one, settings, names) | {"sha256": contents[one[0].name]})
    result.summary = folder.finish([str(file) for file in files], result.unreadable)
    return result


def _parts(files: Sequence[str], unreadable: dict[str, str], call: Any) -> Iterator[Any]:
    """The explanations of the files, part by part; files that cannot be read are noted."""
    with progress_bar(len(files), "explain", unit="image") as bar:
        for start in range(0, len(files), _PART):
            part = files[start : start + _PART]
            try:
                yield call(part)
            except ValueError:
                failed = {name: why for name in part if (why := _why_unreadable(name))}
                if not failed:
                    raise  # it is not the files
                for name, why in failed.items():
                    say(f"cannot be read: {why}")
                    unreadable[name] = why
                if readable := [name for name in part if name not in failed]:
                    yield call(readable)
            bar.update(len(part))


def _why_unreadable(name: str) -> str | None:
    try:
        given_images([name])[0][0].read()
    except ValueError as error:
        return " ".join(str(error).split())
    return None


def _written(found: Any, settings: Settings, names: Mapping[Path, str]) -> dict[str, Any]:
    """Write the files of one image, and give its entry."""
    first, name = found[0], names[Path(found[0].name)]
    picture = f"{name}.png"
    found.save(settings.output / picture)
    classes = [{"label": one.label, "target": one.target, "score": one.score, "logit": one.logit} for one in found]
    entry: dict[str, Any] = {
        "image": first.name, "picture": picture, "attribution": method_text(first.attribution), "size": list(first.map.shape),
        "seen": list(first.seen), "classes": classes,
    }  # fmt: skip
    if settings.maps != "none":
        entry["maps"] = f"{name}.{settings.maps}"
        _write_maps(settings.output / entry["maps"], np.stack([one.map for one in found]))
    return entry


def _write_maps(file: Path, maps: Any) -> None:
    from safetensors.numpy import save_file

    with whole_file(file) as draft:
        if file.suffix == ".npy":
            np.save(draft, maps)
        else:
            save_file({"maps": np.ascontiguousarray(maps)}, draft)


__all__ = ["MAPS", "PROGRESS", "SUMMARY", "Explained", "Settings", "explained", "image_files"]

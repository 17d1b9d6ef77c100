"""Explains files of images by ``hf_guidance.explain``, part by part, for ``hf-guidance explain``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from hf_guidance.apps.cli.application import refuse
from hf_guidance.apps.cli.checkpoints import checked_device, open_checkpoint
from hf_guidance.apps.cli.explained_folder import PROGRESS, SUMMARY, ExplainedFolder
from hf_guidance.apps.cli.output import say
from hf_guidance.common.whole_file import whole_file
from hf_guidance.evaluation import explain
from hf_guidance.evaluation.explaining.given import given_images
from hf_guidance.guidance.expression import method_text

_PART = 16  # images of one call of explain; what is done is on the disk after each
MAPS = ("none", "npy", "safetensors")


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


def image_files(given: Sequence[Path], output: Path) -> tuple[list[Path], dict[Path, str]]:
    """The files to explain, and the names of their results.

    Args:
        given: Files, and folders, whose files with the ending of an image are taken, those of their folders too.
        output: Where results go; what lies there is no input.

    Returns:
        The files, and the path of each one's results in ``output``, without ending.

    Raises:
        typer.BadParameter: Something that does not exist, or a folder without images.
    """
    endings = Image.registered_extensions()
    files: dict[Path, Path] = {}
    for one in given:
        if one.is_dir():
            inside = [path for path in sorted(one.rglob("*")) if path.is_file() and not path.name.startswith(".")]
            inside = [path for path in inside if not path.resolve().is_relative_to(output.resolve())]
            images = [path for path in inside if path.suffix.lower() in endings]
            others = [path.name for path in inside if path.suffix.lower() not in endings]
            if not images:
                refuse(f"{one} holds no file with the ending of an image.", "IMAGES")
            if others:
                more = f" and {len(others) - 3} more" if len(others) > 3 else ""
                say(f"{one}: no images by their names: {', '.join(others[:3])}{more}")
            files |= {path: path.relative_to(one) for path in images}
        elif one.exists():
            files[one] = Path(one.name)
        else:
            refuse(f"{one} does not exist.", "IMAGES")
    stems = Counter(place.with_suffix("") for place in files.values())
    names = {p: str(q.with_suffix("") if stems[q.with_suffix("")] == 1 else q) for p, q in files.items()}
    if len(set(names.values())) < len(names):
        twice = next(name for name, count in Counter(names.values()).items() if count > 1)
        refuse(
            f"two images are called {twice}, whose results would lie in one file; explain them into two folders.",
            "IMAGES",
        )
    return list(files), names


def _refuse_to_overwrite(files: Sequence[Path], names: Mapping[Path, str], output: Path) -> None:
    results = {
        (output / f"{name}{end}").resolve() for name in names.values() for end in (".png", ".npy", ".safetensors")
    }
    lost = next((file for file in files if file.resolve() in results), None)
    if lost is not None:
        refuse(f"the image {lost} would be overwritten by a result; name another folder.", "--output")


def explained(given: Sequence[Path], settings: Settings) -> Explained:
    """Explain images, and write a PNG for each, and explanations.json.

    Args:
        given: Files and folders.
        settings: The options.

    Returns:
        What came of it.

    Raises:
        typer.BadParameter: An option that does not exist, or a folder with other results.
        ValueError: A model or a target that cannot be explained.
    """
    if settings.output.resolve() in {path.resolve() for path in given}:
        refuse("results may not lie among the images; name another folder.", "--output")
    files, names = image_files(given, settings.output)
    _refuse_to_overwrite(files, names, settings.output)
    device, checkpoint = checked_device(settings.device), open_checkpoint(settings.model, settings.revision)
    attribution = checkpoint.attribution(settings.attribution, settings.layer)
    target = int(settings.target) if settings.target and settings.target.isdecimal() else settings.target
    facts = {
        "model": settings.model,
        "weights": checkpoint.weights(),
        "attribution": method_text(attribution),
        "target": target,
    }
    folder = ExplainedFolder(settings.output, facts | {"top_k": settings.top_k, "maps": settings.maps}, settings.resume)
    left = [file for file in files if str(file) not in folder.done]
    result = Explained({}, settings.output, kept=len(files) - len(left))
    if left:
        model, processor = checkpoint.model().to(device), checkpoint.processor()
        options: dict[str, Any] = {
            "attribution": attribution,
            "target": target,
            "top_k": settings.top_k,
            "batch_size": settings.batch_size,
        }
        for found in _parts(left, result.unreadable, lambda part: explain(model, part, processor, **options)):
            for one in found.by_image():
                folder.add(_written(one, settings, names))
    result.summary = folder.finish([str(file) for file in files], result.unreadable)
    return result


def _parts(files: Sequence[Path], unreadable: dict[str, str], call: Any) -> Iterator[Any]:
    """The explanations of the files, part by part; files that cannot be read are noted."""
    with tqdm(total=len(files), desc="explain", unit="image", disable=None) as bar:
        for start in range(0, len(files), _PART):
            part = [str(file) for file in files[start : start + _PART]]
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

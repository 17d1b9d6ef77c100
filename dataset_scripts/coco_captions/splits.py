"""Lists that say which image of COCO is in which split: Karpathy's, or lists of ids."""

import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from hf_guidance.dataset_scripts.coco_objects.files import read_split_file

from hf_guidance.data.builder_base import id_text, read_json
from hf_guidance.data.images.image_files import with_slashes
from hf_guidance.data.split_names import SPLITS

RESTVAL = "restval"


def read_lists(path: str, restval: str) -> tuple[dict[str, set[str]], list[str]]:
    """Split -> ids or file names of its images, as text; and what a list names twice.

    Args:
        path: Karpathy's dataset_coco.json, or {split: [ids or file names]}.
        restval: "train" puts Karpathy's images of the split restval into train, "drop" leaves them in no split.

    Raises:
        ValueError: The file has neither form.
    """
    content = read_json(path)
    if not isinstance(content, dict) or "images" not in content:
        wanted, twice = read_split_file(path)
        return wanted, twice
    wanted: dict[str, set[str]] = {}
    twice = []
    images = content["images"]
    for index, entry in enumerate(images if isinstance(images, list) else []):
        split = entry.get("split") if isinstance(entry, dict) else None
        name = entry.get("cocoid", entry.get("filename")) if isinstance(entry, dict) else None
        if not isinstance(split, str) or name is None:
            raise ValueError(
                f"split_file: {path}, images[{index}] is {entry!r:.60}; allowed: an object with split and cocoid, or filename."
            )
        if split == RESTVAL and restval == "drop":
            continue
        names = wanted.setdefault("train" if split == RESTVAL else SPLITS.get(split, split), set())
        text = id_text(name)
        if text in names:
            twice.append(f"{text} in {split}")
        names.add(text)
    if not wanted:
        raise ValueError(f"split_file: {path} lists no image.")
    return wanted, twice


def cut(images: Sequence[Mapping[str, Any]], wanted: Mapping[str, set[str]], path: str) -> dict[str, list[int]]:
    """Split -> indices of its images, in their order.

    Args:
        images: Entries of annotation files: id and file_name.
        wanted: Split -> ids or file names.
        path: Names the lists in errors.

    Raises:
        ValueError: A list names images that there are not, or one image is in two splits.
    """
    places: dict[str, int] = {}
    for index, image in enumerate(images):
        file = with_slashes(str(image.get("file_name", "")))
        for name in (posixpath.basename(file), file, id_text(image["id"])):
            places[name] = index
    unknown = sorted(set().union(*wanted.values()) - set(places))
    if unknown:
        raise ValueError(
            f"split_file: {path} names {len(unknown)} images that the annotations lack, such as {unknown[:3]}; allowed: ids, "
            "or file names, of the images of all captions files in data_dir."
        )
    found: dict[str, list[int]] = {}
    seen: dict[int, str] = {}
    for split, names in wanted.items():
        found[split] = sorted({places[name] for name in names})
        both = [index for index in found[split] if index in seen]
        if both:
            image = images[both[0]]["id"]
            raise ValueError(
                f"split_file: {path} has image {image} in {seen[both[0]]} and in {split}; keep one of the two."
            )
        seen.update(dict.fromkeys(found[split], split))
    return found

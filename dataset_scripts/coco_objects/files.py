"""Where the files of COCO lie: annotation files, image folders, and lists that cut the training images in two."""

import glob
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from hf_guidance.dataset_scripts.coco_objects.entries import CATEGORY, mistyped

from hf_guidance.data.builder_base import read_text

SPLITS = {"train": "train", "val": "validation", "test": "test"}
LAYOUT = "instances*.json (or annotations/instances*.json) and images/"
PARTS = "train2014_*_split.json"  # annotation files that cut train2014 in two, as the paper uses them


def find_annotations(config: Any) -> dict[str, str]:
    """Split -> json file: as configured, or the instances*.json of data_dir."""
    base = config.base()
    given = config.annotation_file
    if given is not None:
        files = dict(given) if isinstance(given, Mapping) else {"train": given}
        files = {split: os.path.join(base, os.path.expanduser(path)) for split, path in files.items()}
    else:
        files = files_by_name(base, "instances*.json")
        if config.preparation == "model_guidance":
            files = paper_splits(files, files_by_name(base, PARTS))
    missing = [path for path in files.values() if not os.path.isfile(path)]
    if missing or not files:
        raise ValueError(f"annotation_file: not found: {missing or base}; allowed: a folder with {LAYOUT}, or a path.")
    return files


def files_by_name(base: str, pattern: str) -> dict[str, str]:
    """Split -> json file for all files of a name, in a folder or in its annotations/."""
    patterns = [os.path.join(glob.escape(base), inner, pattern) for inner in ("", "annotations")]
    paths = [path for pattern in patterns for path in sorted(glob.glob(pattern))]
    files = {split_of(path): path for path in paths}
    if len(files) < len(paths):
        raise ValueError(f"{paths}: several files for one split; pass annotation_file={{split: file}}.")
    return files


def paper_splits(files: dict[str, str], parts: dict[str, str]) -> dict[str, str]:
    """The splits of arXiv 2303.11932: train and validation are parts of train2014, and test is all of val2014."""
    if parts and set(parts) != {"train", "validation"}:
        raise ValueError(
            f"{sorted(parts.values())}: one part of train2014 only; give {PARTS} for both train and val, or neither."
        )
    if "validation" in files and "test" in files:
        raise ValueError(f"{sorted(files.values())}: val and test would both be test; pass annotation_file.")
    return {**{"test" if split == "validation" else split: path for split, path in files.items()}, **parts}


def split_of(path: str) -> str:
    """instances_val2014.json -> validation; a name without a split is train."""
    return next((split for key, split in SPLITS.items() if f"_{key}" in os.path.basename(path)), "train")


def find_images(config: Any, split: str, annotation_file: str) -> str:
    """The folder of a split's images."""
    base, given = config.base(), config.image_dir
    year = os.path.splitext(os.path.basename(annotation_file))[0].removeprefix("instances").strip("_")
    years = list(dict.fromkeys([year, year.split("_")[0]])) if year else []  # train2014_val_split lies in train2014
    names = [name for year in years for name in (os.path.join("images", year), year)] + ["images", split]
    if given is not None:
        names = [os.path.expanduser(given.get(split, split) if isinstance(given, Mapping) else given)]
    found = [path for path in (os.path.join(base, name) for name in names) if os.path.isdir(path)]
    if not found:
        raise ValueError(f"image_dir: none of {names} is a folder in {base}; pass image_dir='...', or by split.")
    return found[0]


def parsed(path: str) -> Any:
    """The content of a JSON file."""
    text = read_text(path)
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path}: this is not well-formed JSON ({error}). Write the file again.") from None


def read_json(path: str) -> dict[str, Any]:
    """The content of an instances file; missing lists or malformed categories are always an error."""
    content = parsed(path)
    keys = ("images", "annotations", "categories")
    missing = [key for key in keys if not isinstance(content, dict) or key not in content]
    if missing:
        raise ValueError(f"{path}: {missing} missing; allowed: an instances file with {', '.join(keys)}.")
    wrong = [f"{key} is {content[key]!r:.60}" for key in keys if not isinstance(content[key], list)]
    if wrong:
        raise ValueError(f"{path}: {', '.join(wrong)}; allowed: lists. Write the file again.")
    for index, category in enumerate(content["categories"]):
        fault = mistyped(category, CATEGORY)
        if not fault and None in (category.get("id"), category.get("name")):
            fault = f"got {category!r:.60}; allowed: an id and a name."
        if fault:
            raise ValueError(f"{path}, categories[{index}]: {fault} Fix it.")
    return content


def read_split_file(path: str) -> dict[str, set[str]]:
    """Split -> ids or file names of its images, as text."""
    content = parsed(path)
    lists = isinstance(content, dict) and content and all(isinstance(entries, list) for entries in content.values())
    if not lists:
        raise ValueError(f"split_file: {path} holds no lists by split; allowed: " + '{"train": [...], "val": [...]}.')
    return {SPLITS.get(split, split): {str(entry) for entry in entries} for split, entries in content.items()}


def cut(images: Sequence[Mapping[str, Any]], path: str) -> dict[str, list[int]]:
    """Split -> indices of the images that a split file lists for it, in their order; other images are in no split.

    Args:
        images: entries of an instances file.
        path: the split file.
    """
    wanted = read_split_file(path)
    known = [{str(image["id"]), image["file_name"], os.path.basename(image["file_name"])} for image in images]
    unknown = sorted(set().union(*wanted.values()) - set().union(*known))
    if unknown:
        raise ValueError(
            f"split_file: {path} names {len(unknown)} images that the training annotations lack, such as {unknown[:3]}; "
            "allowed: ids, or file names with their extension."
        )
    found = {
        split: [index for index, names in enumerate(known) if names & entries] for split, entries in wanted.items()
    }
    seen: dict[int, str] = {}
    for split, indices in found.items():
        twice = [index for index in indices if index in seen]
        if twice:
            image = images[twice[0]]["file_name"]
            raise ValueError(f"split_file: {path} has {image} in {seen[twice[0]]} and in {split}; keep one of the two.")
        seen.update(dict.fromkeys(indices, split))
    return found

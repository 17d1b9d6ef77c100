"""Where the files of COCO lie: annotation files, image folders, and lists that cut the training images in two."""

import functools
import glob
import os
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from hf_guidance.dataset_scripts.coco_objects.entries import CATEGORY, is_id, mistyped

from hf_guidance.data.builder_base import InvalidAnnotation, id_text, read_json
from hf_guidance.data.images.image_files import IMAGE_EXTENSIONS, FileIndex, stem, with_slashes
from hf_guidance.data.split_names import SPLITS, split_words

LAYOUT = "instances*.json (or annotations/instances*.json) and images/"
PARTS = "train2014_*_split.json"  # annotation files that cut train2014 in two, as the paper uses them


def find_annotations(config: Any) -> dict[str, str]:
    """Split -> json file: as configured, or the instances*.json of data_dir."""
    base = config.base()
    given = config.annotation_file
    if given is not None:
        named = by_split(given, "annotation_file").items()
        files = {split: os.path.join(base, os.path.expanduser(path)) for split, path in named}
    else:
        files = files_by_name(base, "instances*.json")
        if config.preparation == "model_guidance":
            files = paper_splits(files, files_by_name(base, PARTS))
    missing = [path for path in files.values() if not os.path.isfile(path)]
    if missing or not files:
        raise ValueError(f"annotation_file: not found: {missing or base}; allowed: a folder with {LAYOUT}, or a path.")
    return files


def by_split(given: Any, option: str) -> dict[str, str | os.PathLike[str]]:
    """An option of paths as split -> path; a single path is that of train, and "val" is validation."""
    named = given if isinstance(given, Mapping) else {"train": given}
    wrong = [path for path in named.values() if not isinstance(path, str | os.PathLike)]
    if wrong:
        raise ValueError(f"{option}: got {wrong[0]!r:.60} as a path; allowed: a path, or {{split: path}}.")
    files = {SPLITS.get(split, split): path for split, path in named.items()}
    if len(files) < len(named):
        raise ValueError(f"{option}: {list(named)} name one split twice; give each once.")
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
    """instances_val2014.json -> validation; a name without a split is train. Names are matched whole, but for a year."""
    name = os.path.splitext(os.path.basename(path))[0]
    found, near = split_words(name.lower().removeprefix("train2014_"))
    if len(found) > 1 or near:
        fault = " and ".join(found) if len(found) > 1 else f"{near[0]!r}, which is only like a split"
        raise ValueError(
            f"{path}: its name says {fault}; pass annotation_file={{split: file}}, or rename it with one of "
            f"{', '.join(SPLITS)}, such as instances_train.json."
        )
    return found[0] if found else "train"


def find_images(config: Any, split: str, annotation_file: str) -> str:
    """The folder of a split's images."""
    base, given = config.base(), config.image_dir
    year = os.path.splitext(os.path.basename(annotation_file))[0].removeprefix("instances").strip("_")
    years = list(dict.fromkeys([year, year.split("_")[0]])) if year else []  # train2014_val_split lies in train2014
    # the folder may call the split as the file does, or by another of its names
    said = split_words(years[-1])[0] if years else []
    named = [word for word in SPLITS if SPLITS[word] in said]
    names = [name for year in years for name in (os.path.join("images", year), year)]
    names += [os.path.join("images", word) for word in named]
    # Beside a flat images/ a folder train/ may be anything, such as that of a run.
    names += ["images", *named, split] if _is_flat(os.path.join(base, "images")) else [*named, "images", split]
    if given is not None:
        folders = by_split(given, "image_dir") if isinstance(given, Mapping) else {split: given}
        names = [os.path.expanduser(folders.get(split, split))]
    found = [path for path in (os.path.join(base, name) for name in names) if os.path.isdir(path)]
    if not found:
        raise ValueError(f"image_dir: none of {names} is a folder in {base}; pass image_dir='...', or by split.")
    return found[0]


def _is_flat(folder: str) -> bool:
    """Whether a folder holds images right in it."""
    return os.path.isdir(folder) and any(name.lower().endswith(IMAGE_EXTENSIONS) for name in os.listdir(folder))


def read_instances(path: str) -> dict[str, Any]:
    """The content of an instances file; missing lists or malformed categories are always an error."""
    content: Any = read_json(path)
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


def read_split_file(path: str) -> tuple[dict[str, set[str]], list[str]]:
    """Split -> ids or file names of its images, as text; and what a list names twice."""
    content = read_json(path)
    lists = isinstance(content, dict) and content and all(isinstance(entries, list) for entries in content.values())
    if not lists:
        raise ValueError(f"split_file: {path} holds no lists by split; allowed: " + '{"train": [...], "val": [...]}.')
    wanted: dict[str, set[str]] = {}
    twice = []
    for name, entries in content.items():
        split = SPLITS.get(name, name)
        if split in wanted:
            raise ValueError(f"split_file: {path} has two lists for {split}, the second as {name!r}; merge them.")
        wanted[split] = set()
        for entry in entries:
            if not is_id(entry):
                raise ValueError(f"split_file: {path} holds {entry!r:.60} in {name!r}; allowed: ids or file names.")
            text = id_text(entry)
            if text in wanted[split]:
                twice.append(f"{text} in {name}")
            wanted[split].add(text)
    return wanted, twice


def cut(images: Sequence[Mapping[str, Any]], path: str) -> tuple[dict[str, list[int]], list[str]]:
    """The images that a split file lists.

    Args:
        images: entries of an instances file.
        path: the split file.

    Returns:
        Split -> indices of its images in their order, where other images are in no split; and what a list names twice.
    """
    wanted, twice = read_split_file(path)
    places: dict[str, set[int]] = {}
    for index, image in enumerate(images):
        file = image["file_name"]
        for name in (id_text(image["id"]), file, with_slashes(file), posixpath.basename(with_slashes(file))):
            places.setdefault(name, set()).add(index)
    unknown = sorted(set().union(*wanted.values()) - set(places))
    if unknown:
        raise ValueError(
            f"split_file: {path} names {len(unknown)} images that the training annotations lack, such as {unknown[:3]}; "
            "allowed: ids, or file names with their extension."
        )
    several = sorted(name for name in set().union(*wanted.values()) if len(places[name]) > 1)
    if several:
        raise ValueError(
            f"split_file: {path} names {several[0]}, which may be any of {len(places[several[0]])} images; name them by id."
        )
    found = {split: sorted({min(places[name]) for name in names}) for split, names in wanted.items()}
    seen: dict[int, str] = {}
    for split, indices in found.items():
        both = [index for index in indices if index in seen]
        if both:
            image = images[both[0]]["file_name"]
            raise ValueError(f"split_file: {path} has {image} in {seen[both[0]]} and in {split}; keep one of the two.")
        seen.update(dict.fromkeys(indices, split))
    return found, twice


class ImageFiles:
    """The image files of a folder, found by the ``file_name`` of an instances file.

    Args:
        folder: The folder of the images, which may have sub-folders.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    @functools.cached_property
    def index(self) -> FileIndex:
        """All files below the folder; read only where a name is not the path of a file."""
        return FileIndex(self.folder)

    def path(self, name: str) -> str:
        """The path of a file: of just this name, or the one whose path ends with it; backslashes count as slashes.

        Raises:
            InvalidAnnotation: There is no such file, or several.
        """
        plain = os.path.join(self.folder, name)
        for path in (plain, os.path.join(self.folder, with_slashes(name))):
            if os.path.isfile(path):
                return path
        found = self._of_name(with_slashes(name))
        if len(found) == 1:
            return self.index.path(found[0])
        if found:
            message = f"it may be any of {found[:3]} in {self.folder}; write the file_name with its folder."
            raise InvalidAnnotation("several images of one name", plain, message)
        message = "it is annotated, but the file does not exist."
        if os.path.isabs(name) or name[1:2] == ":":
            message += f" Its file_name {name!r} is the path on another computer: write it as one below {self.folder}."
        raise InvalidAnnotation("box file without image", plain, message)

    def _of_name(self, name: str) -> list[str]:
        """Files of a name with slashes, or else of one whose ending is in another case."""
        base = posixpath.basename(name)
        found = [each for each in self.index.find(name) if posixpath.basename(each) == base]
        other = [each for each in self.index.find(stem(name)) if posixpath.basename(each).lower() == base.lower()]
        return found or other

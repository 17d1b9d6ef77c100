"""The files of COCO's captions: captions*.json, and the instances*.json of the same images."""

from collections.abc import Callable, Mapping
from typing import Any

from hf_guidance.dataset_scripts.coco_objects.entries import ID, TEXT, Types, mistyped
from hf_guidance.dataset_scripts.coco_objects.files import files_by_name, read_instances

from hf_guidance.data.builder_base import InvalidAnnotation, id_text, read_json

LAYOUT = "captions*.json and instances*.json (or annotations/captions*.json, ...)"
CAPTION: Types = {"id": ID, "image_id": ID, "caption": TEXT}
Counted = Callable[[str, str], None]
Problem = Callable[[InvalidAnnotation], None]


def find_files(base: str, segmentations: bool) -> tuple[dict[str, str], dict[str, str]]:
    """Split -> its captions file, and split -> its instances file."""
    captions = files_by_name(base, "captions*.json")
    if not captions:
        raise ValueError(f"data_dir: no captions*.json in {base} or its annotations/; allowed: a folder with {LAYOUT}.")
    instances = files_by_name(base, "instances*.json") if segmentations else {}
    if segmentations and not instances:
        raise ValueError(
            f"data_dir: no instances*.json in {base} or its annotations/, which hold the masks of words; add them, or pass "
            "segmentations=False for captions without importance."
        )
    return captions, instances


def read_captions(path: str) -> dict[str, list[Any]]:
    """The content of a captions file; missing lists are always an error."""
    content: Any = read_json(path)
    keys = ("images", "annotations")
    missing = [key for key in keys if not isinstance(content, dict) or not isinstance(content.get(key), list)]
    if missing:
        raise ValueError(
            f"{path}: no list {' and no list '.join(missing)}; allowed: a captions file with {', '.join(keys)}."
        )
    return content


def checked_images(path: str, images: list[Any], known: dict[str, Any], problem: Problem) -> None:
    """Add the images of a captions file to those that are known, by the text of their ids."""
    for index, image in enumerate(images):
        item = f"{path}, images[{index}]"
        fault = mistyped(image, {"id": ID, "file_name": TEXT})
        if not fault and image.get("id") is None:
            fault = f"got {image!r:.60}; allowed: an object with an id."
        if not fault and id_text(image["id"]) in known:
            fault = f"its id {image['id']} is that of another image; allowed: each id once."
        if fault:
            problem(InvalidAnnotation("image without an id of its own", item, fault))
            continue
        known[id_text(image["id"])] = image


def checked_captions(
    path: str, annotations: list[Any], known: Mapping[str, Any], seen: set[str], problem: Problem
) -> dict[str, list[dict[str, Any]]]:
    """Id of an image -> its captions, in their order.

    Args:
        path: The captions file.
        annotations: Its captions.
        known: Images by the text of their ids.
        seen: Ids of captions of all files; gains those of this one.
        problem: Raises an error, or counts it.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for index, entry in enumerate(annotations):
        item = f"{path}, annotations[{index}]"
        fault = mistyped(entry, CAPTION)
        missing = [] if fault else [key for key in CAPTION if entry.get(key) is None]
        if fault or missing:
            problem(InvalidAnnotation("malformed caption", item, fault or f"it has no {', '.join(missing)}."))
            continue
        item = f"{path}, caption {entry['id']}"
        if id_text(entry["image_id"]) not in known:
            message = f"its image {entry['image_id']!r} is not in images."
            problem(InvalidAnnotation("caption without image", item, message))
        elif id_text(entry["id"]) in seen:
            problem(InvalidAnnotation("caption listed twice", item, "another caption has its id."))
        elif not entry["caption"].strip():
            problem(InvalidAnnotation("empty caption", item, "its caption is empty."))
        else:
            seen.add(id_text(entry["id"]))
            found.setdefault(id_text(entry["image_id"]), []).append(entry)
    return found


def read_objects(
    paths: Mapping[str, str], known: Mapping[str, Any], count: Counted, problem: Problem
) -> tuple[dict[str, list[tuple[str, str, Any]]], dict[str, tuple[int, int]]]:
    """Id of an image -> its objects as (name in errors, category, segmentation), and its (width, height).

    Args:
        paths: Split -> its instances file; images are found by their ids, whatever the split.
        known: Images that have captions; others are left out.
        count: Counts what is left out.
        problem: Raises an error, or counts it.
    """
    objects: dict[str, list[tuple[str, str, Any]]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for path in paths.values():
        content = read_instances(path)
        names = {id_text(entry["id"]): entry["name"] for entry in content["categories"]}
        for index, image in enumerate(content["images"]):
            try:
                sizes[id_text(image["id"])] = (int(image["width"]), int(image["height"]))
            except (KeyError, TypeError, ValueError):
                message = f"got {image!r:.80}; allowed: an object with id, width and height."
                problem(InvalidAnnotation("image without size", f"{path}, images[{index}]", message))
        for index, entry in enumerate(content["annotations"]):
            item = f"{path}, annotations[{index}]"
            given = isinstance(entry, dict) and (entry.get("image_id"), entry.get("category_id"))
            if not given or None in given:
                message = f"got {entry!r:.80}; allowed: an object with image_id and category_id."
                problem(InvalidAnnotation("malformed entry", item, message))
                continue
            image, category = map(id_text, given)
            if image not in known:
                continue
            if category not in names or image not in sizes:
                lacking = f"category {category}" if category not in names else f"image {image}"
                message = f"{lacking} is not in the file's lists."
                problem(InvalidAnnotation("object of unknown category or image", item, message))
            elif not entry.get("segmentation"):
                count("object without outline, left out", item)
            else:
                objects.setdefault(image, []).append((item, names[category], entry["segmentation"]))
    return objects, sizes

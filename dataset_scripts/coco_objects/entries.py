"""The entries of an instances file: which types their values may have, and the order of ids."""

from collections.abc import Callable, Container, Mapping
from typing import Any

from hf_guidance.data.builder_base import InvalidAnnotation, id_text

LEFT_OUT = "left out"  # the key of an annotation of which only the class counts
Types = Mapping[str, tuple[Callable[[Any], bool], str]]


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_id(value: Any) -> bool:
    # some tools write 3.0 for 3
    return bool(value.strip()) if isinstance(value, str) else is_number(value) and value == value // 1


def is_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_number, value))


ID = (is_id, "a whole number or text")
TEXT = (lambda value: isinstance(value, str), "text")
NUMBER = (is_number, "a number")
CATEGORY: Types = {"id": ID, "name": TEXT}
IMAGE: Types = {"id": ID, "file_name": TEXT, "width": NUMBER, "height": NUMBER}
ANNOTATION: Types = {
    "image_id": ID,
    "category_id": ID,
    "bbox": (is_numbers, "four numbers: x, y, width, height"),
    "iscrowd": (lambda value: value in (0, 1), "0 or 1"),
}


def mistyped(entry: Any, types: Types) -> str:
    """What is wrong with the types of an entry, empty where nothing is; a value that is null or absent is not wrong."""
    if not isinstance(entry, dict):
        return f"got {entry!r:.60}; allowed: an object with {', '.join(types)}."
    for key, (fits, allowed) in types.items():
        value = entry.get(key)
        if value is not None and not fits(value):
            return f"{key} is {value!r:.60}; allowed: {allowed}."
    return ""


def check_image(image: Any, known: Container[Any], item: str) -> None:
    """Check the types of an image's entry, and that it has a file name and an id whose text is not in ``known``."""
    fault = mistyped(image, IMAGE)
    if fault:
        raise InvalidAnnotation("malformed entry", item, fault)
    if None in (image.get("id"), image.get("file_name")) or id_text(image["id"]) in known:
        reason = "image without an id of its own or a file_name"
        raise InvalidAnnotation(reason, item, f"got {image}; allowed: id and file_name, each id once.")


def check_annotation(annotation: Any, known: Container[Any], item: str) -> None:
    """Check the types of an annotation, and that the text of its image's id is in ``known``."""
    fault = mistyped(annotation, ANNOTATION)
    if fault:
        raise InvalidAnnotation("malformed entry", item, fault)
    image = annotation.get("image_id")
    if image is None or id_text(image) not in known:
        raise InvalidAnnotation("box without image", item, f"image {image!r} is not in images.")


def id_order(value: float | str) -> tuple[bool, float | str]:
    """A key that sorts ids: numbers by size, then texts."""
    return isinstance(value, str), value


def corners(annotation: Mapping[str, Any], item: str) -> list[float]:
    """xyxy of an annotation."""
    bbox = annotation.get("bbox")
    if not bbox or len(bbox) != 4:
        message = f"it has a class but bbox {bbox}; allowed: x, y, width, height."
        raise InvalidAnnotation("label without box", item, message)
    x, y, width, height = map(float, bbox)
    return [x, y, x + width, y + height]


def class_only(annotation: Any, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is left of an annotation that cannot be used: its class, if that and its image can be read."""
    if not isinstance(annotation, dict) or not all(is_id(annotation.get(key)) for key in ("image_id", "category_id")):
        return None
    if id_text(annotation["image_id"]) not in known:
        return None
    kept = {key: annotation[key] for key in ("image_id", "category_id")}
    return {**kept, "iscrowd": annotation.get("iscrowd") in (1, True), LEFT_OUT: True}

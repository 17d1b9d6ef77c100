"""CLEVR's scene files, and the boxes of their objects, which the files do not hold."""

import glob
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from hf_guidance.data.builder_base import RECORD_ERRORS, InvalidAnnotation, id_text, read_json
from hf_guidance.data.images.box_checks import clipped_box

SIZE = (480, 320)  # width and height of CLEVR's images as they were rendered
RADII = {"large": 0.7, "small": 0.35}  # of CLEVR's properties.json, in units of the scene
FOCAL = 35 / 32  # of the image's width: Blender's default lens of 35 mm on a sensor of 32 mm, which the base scene has
TILT = math.radians(26)  # by which the camera looks down; it is jittered by some 3 degrees


def _extents() -> dict[str, tuple[float, float]]:
    """Shape -> half of its width and height as seen by the camera, in radii.

    A cylinder is as high as it is wide, and its top is a tilted circle. A cube's edges are sqrt(2) radii, so that its corners
    stand on the circle of a cylinder; how it is turned is not known (the file's rotation is not what was rendered), so its
    width is the mean over all turns, 4 / pi edges: 0.9 radii, between 0.71 and 1.
    """
    edge = 1 / math.sqrt(2)
    turned = edge * 4 / math.pi
    return {
        "sphere": (1.0, 1.0),
        "cylinder": (1.0, math.cos(TILT) + math.sin(TILT)),
        "cube": (turned, edge * math.cos(TILT) + turned * math.sin(TILT)),
    }


EXTENTS = _extents()


def find_scenes(base: str, questions: str, only: bool) -> str | None:
    """The scene file of a question file, None where there is none: CLEVR_train_scenes.json for CLEVR_train_questions.json.

    Args:
        base: The folder of the data; scene files are there, in its folder scenes, or beside the questions.
        questions: The question file.
        only: Take a scene file of another name too, where it is the only one.
    """
    name = os.path.basename(questions).replace("questions", "scenes")
    folders = [os.path.dirname(questions), base, os.path.join(base, "scenes")]
    named = [os.path.join(folder, name) for folder in folders if os.path.isfile(os.path.join(folder, name))]
    if named or not only:
        return next(iter(named), None)
    paths = {path for folder in folders for path in glob.glob(os.path.join(glob.escape(folder), "*scenes.json"))}
    if len(paths) > 1:
        raise ValueError(f"{sorted(paths)}: several scene files for {questions}; name the one that it needs {name}.")
    return next(iter(paths), None)


class Scenes:
    """The scenes of a file, by the name of the image or by its index.

    Attributes:
        reach: The largest x and y of all objects' ``pixel_coords``.
        problems: What is wrong with single scenes; the builder raises or counts them.
    """

    def __init__(self, path: str) -> None:
        content = read_json(path)
        scenes = content.get("scenes") if isinstance(content, dict) else content
        if not isinstance(scenes, list) or not all(isinstance(scene, dict) for scene in scenes):
            raise ValueError(f"{path}: no list of scenes; allowed: {{'scenes': [...]}}, as CLEVR's files.")
        self.by_name: dict[str, Any] = {}
        self.by_index: dict[str, Any] = {}
        self.problems: list[InvalidAnnotation] = []
        for place, scene in enumerate(scenes):
            for key, known in (("image_filename", self.by_name), ("image_index", self.by_index)):
                if scene.get(key) is None:
                    continue
                try:
                    text = id_text(scene[key])
                except ValueError as error:
                    self.problems.append(InvalidAnnotation(f"{key} is no id", f"{path}, scene {place}", str(error)))
                    continue
                if known.setdefault(text, scene) is not scene:
                    raise ValueError(f"{path}: two scenes have {key} {scene[key]!r}; keep one of them.")
        places = [thing["pixel_coords"] for scene in scenes for thing in _with_place(scene)]
        self.reach = (max((place[0] for place in places), default=0), max((place[1] for place in places), default=0))

    def of(self, question: Mapping[str, Any]) -> Any:
        """The scene of a question's image, or None."""
        name, index = question.get("image_filename"), question.get("image_index")
        if name is not None and str(name) in self.by_name:
            return self.by_name[str(name)]
        return None if index is None else self.by_index.get(id_text(index))


def _with_place(scene: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    things = scene.get("objects")
    for thing in things if isinstance(things, list) else []:
        with suppress(*RECORD_ERRORS):  # refused where a question needs it
            _place(thing, "")
            yield thing


def render_size(
    reach: Sequence[float], image: tuple[int, int] | None, given: Sequence[int] | None, item: str
) -> Sequence[int]:
    """The width and height that ``pixel_coords`` are pixels of, which are not those of an image resized later.

    Args:
        reach: The largest x and y in the scene file.
        image: (width, height) of the image file, None where there is none.
        given: The option scene_size, None where it is not given.
        item: Names the question in errors.

    Returns:
        ``given``; or CLEVR's own size, if the image has it, if there is no image, or if the places leave the image, which was
        made smaller then; or the image's, if the places fit into it and not into CLEVR's size. Where only one size can be
        meant, an object outside of it is an object outside its image, not another size.

    Raises:
        InvalidAnnotation: The places leave both sizes, or may be pixels of either.
    """
    if given is not None:
        return given
    if image is None or image == SIZE:
        return SIZE
    fitting = [size for size in (image, SIZE) if reach[0] <= size[0] and reach[1] <= size[1]]
    if len(fitting) == 1:
        return fitting[0]
    fault = "may be pixels of either" if fitting else "lie outside of that"
    message = (
        f"the places of its scene file reach {tuple(reach)}; tried {image} and {SIZE} (the image's and CLEVR's): they {fault}. "
        "Pass scene_size=(width, height) of the rendered images."
    )
    raise InvalidAnnotation("size of the rendered image is not clear", item, message)


def object_box(thing: Mapping[str, Any], size: Sequence[int], item: str) -> tuple[list[float], str]:
    """The box of an object, derived from its place, size and shape, and why it was cut; see `clipped_box`.

    ``pixel_coords`` holds the pixel of the object's centre and its depth. The camera maps a length r at depth d to
    ``FOCAL * width * r / d`` pixels. Half the box's width and height are that of the object's radius (`RADII`) times what its
    shape makes of it (`EXTENTS`). Perspective inside the object, occlusion and shadows are left out.

    Args:
        thing: An entry of a scene's ``objects``.
        size: (width, height) of the image as it was rendered; see `render_size`.
        item: Names the object in errors.

    Returns:
        xyxy in [0, 1] of the image, rounded to float32.

    Raises:
        InvalidAnnotation: No usable place, an unknown size or shape, or a box outside the image.
    """
    x, y, depth = _place(thing, item)
    try:
        radius, extent = RADII[thing["size"]], EXTENTS[thing["shape"]]
    except (KeyError, TypeError):
        message = f"its size is {thing.get('size')!r}, its shape {thing.get('shape')!r}; known: {list(RADII)}, {list(EXTENTS)}."
        raise InvalidAnnotation("object of unknown size or shape", item, message) from None
    pixels = FOCAL * size[0] * radius / depth
    half = (pixels * extent[0], pixels * extent[1])
    corners = (x - half[0], y - half[1], x + half[0], y + half[1])
    inside, cut = clipped_box(corners, size, item)
    return [float(np.float32(edge / length)) for edge, length in zip(inside, (*size, *size), strict=True)], cut


def _place(thing: Mapping[str, Any], item: str) -> tuple[float, float, float]:
    given = thing.get("pixel_coords")
    if not isinstance(given, list | tuple) or len(given) != 3:
        message = f"its pixel_coords are {given!r:.60}; needed: x, y, and the depth."
        raise InvalidAnnotation("object without place or depth", item, message)
    x, y, depth = map(float, given)
    if not (math.isfinite(x) and math.isfinite(y) and 0 < depth < math.inf):
        raise InvalidAnnotation("object without place or depth", item, f"its pixel_coords are {given}.")
    if 0 <= x <= 1 and 0 <= y <= 1 and (x % 1 or y % 1):
        raise InvalidAnnotation(
            "place in [0, 1] instead of pixels", item, f"its pixel_coords are {given}; CLEVR's are pixels."
        )
    return x, y, depth

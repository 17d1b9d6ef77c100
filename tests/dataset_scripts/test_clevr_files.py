"""CLEVR's official files by their own names, the objects of its programs, and their boxes from its scenes."""

import math
import sys

import numpy as np
import pytest
from raw_questions import make_clevr_xai, write_json, write_map

from hf_guidance.data.boxes import box_importance_from_iou
from hf_guidance.data.builders import _builder_class
from hf_guidance.data.questions.answers import AnswerVocabulary
from hf_guidance.data.questions.collator import QuestionCollator
from hf_guidance.models.updn.tokenization import word_tokenizer

SIZE = (480, 320)


def part(name):
    """A module of the builder's folder."""
    package = _builder_class("clevr_xai").__module__.rpartition(".")[0]
    return sys.modules[f"{package}.{name}"]


class Camera:
    """CLEVR's camera, as an oracle: Blender's lens of 35 mm on a sensor of 32 mm, above the scene, looking at its middle."""

    def __init__(self, place=(7.36, -6.93, 4.96), size=SIZE):
        self.place, self.size = np.array(place), size
        forward = -self.place / np.linalg.norm(self.place)
        right = np.cross(forward, [0, 0, 1])
        right /= np.linalg.norm(right)
        self.axes = np.stack([right, np.cross(right, forward), forward])

    def see(self, points):
        """(n, 3) points of the scene -> (n, 3): pixel column, pixel row, depth."""
        x, y, depth = ((points - self.place) @ self.axes.T).T
        focal = self.size[0] * 35 / 32
        return np.stack([self.size[0] / 2 + focal * x / depth, self.size[1] / 2 - focal * y / depth, depth], 1)


def surface(shape, radius, turn):
    """Points on an object that stands on the ground at the origin, and its centre."""
    circle, up = np.linspace(0, 2 * np.pi, 73), np.array([0, 0, 1])
    ring = np.stack([np.cos(circle), np.sin(circle), 0 * circle], 1)
    if shape == "sphere":
        points = np.concatenate([ring * np.cos(level) + up * np.sin(level) for level in np.linspace(-1.57, 1.57, 37)])
    elif shape == "cylinder":
        points = np.concatenate([ring - up, ring + up])
    else:
        corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / math.sqrt(2)
        turned = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
        points = corners @ turned.T
    half = 1 / math.sqrt(2) if shape == "cube" else 1
    return points * radius, np.array([0, 0, half * radius])


@pytest.mark.parametrize("shape", ["sphere", "cylinder", "cube"])
@pytest.mark.parametrize("size", ["large", "small"])
def test_boxes_of_scenes_are_those_that_the_camera_sees(shape, size):
    """The whole projection of the object's surface is the oracle; a cube's turn is unknown, so its box may be off by more."""
    overlaps = []
    for place in ((0, 0), (2.5, -2.5), (-2.8, 0.5), (1, 2.8)):
        for jitter in (-0.5, 0.5):
            camera = Camera((7.36 + jitter, -6.93 + jitter, 4.96 - jitter))
            points, centre = surface(shape, {"large": 0.7, "small": 0.35}[size], turn=0.4 * len(overlaps))
            at = np.array([*place, 0]) + centre
            seen = camera.see(points + at)[:, :2] / SIZE
            thing = {"size": size, "shape": shape, "pixel_coords": camera.see(at[None])[0].tolist()}
            box, cut = part("scenes").object_box(thing, SIZE, "x")
            assert not cut
            overlaps.append(float(box_importance_from_iou([box], [[*seen.min(0), *seen.max(0)]])[0]))
    worst, mean = {"sphere": (0.94, 0.97), "cylinder": (0.82, 0.9), "cube": (0.75, 0.85)}[shape]
    assert min(overlaps) > worst
    assert np.mean(overlaps) > mean


def thing(shape="sphere", size="small", color="red", material="metal", place=(240, 160, 10.0)):
    return {"shape": shape, "size": size, "color": color, "material": material, "pixel_coords": list(place),
            "3d_coords": [0.1, 0.2, 0.35], "rotation": 12.5}  # fmt: skip


THINGS = [
    thing(),
    thing("cube", "large", "blue", "rubber", (120, 100, 12.0)),
    thing("cylinder", "large", "red", "rubber", (400, 220, 8.0)),
]
SCENE = {
    "image_index": 0, "image_filename": "CLEVR_train_000000.png", "split": "train", "objects": THINGS,
    "relationships": {"left": [[1], [], [0, 1]], "right": [[2], [0, 2], []], "front": [[], [], []], "behind": [[], [], []]},
    "directions": {"right": [0.7, 0.7, 0.0]},
}  # fmt: skip


def step(function, *inputs, values=(), names=("function", "value_inputs")):
    return {names[0]: function, "inputs": list(inputs), names[1]: list(values)}


def program(names=("function", "value_inputs")):
    """What size is the thing left of the red sphere? The blue cube is."""
    steps = [
        ("scene",), ("filter_color", 0, "red"), ("filter_shape", 1, "sphere"), ("unique", 2), ("relate", 3, "left"),
        ("unique", 4), ("query_size", 5),
    ]  # fmt: skip
    return [step(name, *inputs[:1], values=inputs[1:], names=names) for name, *inputs in steps]


def asked(index, **others):
    fields = {"question_index": index, "image_index": 0, "image_filename": "CLEVR_train_000000.png", "split": "train"}
    fields |= {
        "question_family_index": 3,
        "question": "What size is the thing left of the red sphere?",
        "answer": "large",
    }
    return {**fields, "program": program(), **others}


def make_clevr(root, questions=None, scenes=None, images=True):
    """CLEVR_v1.0: questions/, scenes/, images/<split>/."""
    questions = [asked(0), asked(1)] if questions is None else questions
    for split in ("train", "val"):
        name = f"CLEVR_{split}_000000.png"
        mine = [{**each, "image_filename": name, "split": split} for each in questions if isinstance(each, dict)]
        mine += [each for each in questions if not isinstance(each, dict)]
        write_json(root / "questions" / f"CLEVR_{split}_questions.json", {"info": {}, "questions": mine})
        known = [{**each, "image_filename": name, "split": split} for each in ([SCENE] if scenes is None else scenes)]
        write_json(root / "scenes" / f"CLEVR_{split}_scenes.json", {"info": {}, "scenes": known})
        if images:
            write_map(root / "images" / split / name, size=SIZE)
    test = {key: asked(5)[key] for key in ("question_index", "image_index", "question")}
    write_json(
        root / "questions" / "CLEVR_test_questions.json",
        {"questions": [{**test, "image_filename": "CLEVR_test_000000.png", "split": "test"}]},
    )
    return str(root)


def relative(number):
    return part("scenes").object_box(THINGS[number], SIZE, "x")[0]


def test_clevr_by_its_own_names(prepare, tmp_path):
    splits, builder = prepare("clevr_xai", data_dir=make_clevr(tmp_path / "raw"))
    assert {split: list(rows["question_id"]) for split, rows in splits.items()} == {
        "train": ["0", "1"], "validation": ["0", "1"], "test": ["5"],
    }  # fmt: skip
    for split in ("train", "validation"):
        row = splits[split][0]
        assert row["answers"] == ["large"]
        assert row["question_type"] == "query_size"
        assert row["reference_boxes"] == [relative(0), relative(1)]
        assert row["image"].size == SIZE
    row = splits["test"][0]
    assert (row["answers"], row["reference_boxes"], row["image"]) == ([], None, None)
    assert {key: entry["count"] for key, entry in builder.report.items()} == {
        "question without image": 1, "question without scene": 1,
    }  # fmt: skip
    collate = QuestionCollator(word_tokenizer(["what size"]), AnswerVocabulary(("large",)))
    batch = collate([{**splits["train"][0], "features": np.eye(3), "boxes": [relative(number) for number in range(3)]}])
    assert batch["importance"].tolist() == [[1, 1, 0]]


def test_without_images_clevrs_own_size_is_taken_and_counted(prepare, tmp_path):
    splits, builder = prepare("clevr_xai", data_dir=make_clevr(tmp_path / "raw", images=False))
    assert splits["train"][0]["reference_boxes"] == [relative(0), relative(1)]
    assert builder.report["question without image"]["count"] == 5


COUNT = [
    step("scene"), step("filter_color", 0, values=["red"]), step("scene"), step("filter_color", 2, values=["blue"]),
    step("filter_material", 3, values=["metal"]), step("union", 1, 4), step("count", 5),
]  # fmt: skip
NONE = [step("scene"), step("filter_color", 0, values=["green"]), step("scene"),
        step("filter_shape", 2, values=["cube"]), step("intersect", 1, 3), step("exist", 4)]  # fmt: skip
SAME = [step("scene"), step("filter_shape", 0, values=["cube"]), step("unique", 1), step("same_size", 2),
        step("exist", 3)]  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "kind", "expected"),
    [
        (program(), "unique", [0, 1]),
        (program(("type", "side_inputs")), "unique", [0, 1]),  # as the generator and CLEVR-XAI write it
        (program(), "union", [0, 1, 2]),  # filter_color: both red ones
        (program(), "unique_firstnonempty", [0, 1]),
        (program(), "all_objects", [0, 1, 2]),
        (program(), "single_object", []),
        (program()[:4], "single_object", [0]),
        (COUNT, "unique", []),
        (COUNT, "unique_firstnonempty", [0, 2]),
        (COUNT, "union", [0, 1, 2]),
        (NONE, "unique_firstnonempty", [1]),  # nothing is in both; of the two inputs one found the cube
        (SAME, "unique", [1]),
        (SAME, "unique_firstnonempty", [1, 2]),
    ],
)
def test_the_objects_of_a_program(steps, kind, expected):
    assert part("programs").important_objects(steps, SCENE, kind) == expected


WRONG_THING = {
    "no depth": ({"pixel_coords": [240, 160]}, "object without place or depth"),
    "depth 0": ({"pixel_coords": [240, 160, 0]}, "object without place or depth"),
    "NaN": ({"pixel_coords": [float("nan"), 160, 9.0]}, "object without place or depth"),
    "no place": ({"pixel_coords": None}, "object without place or depth"),
    "relative": ({"pixel_coords": [0.5, 0.5, 10.0]}, "place in [0, 1] instead of pixels"),
    "size": ({"size": "medium"}, "object of unknown size or shape"),
    "shape": ({"shape": "cone"}, "object of unknown size or shape"),
}


@pytest.mark.parametrize("case", WRONG_THING)
def test_objects_without_a_box_are_refused_or_skipped(case, prepare, tmp_path):
    changed, reason = WRONG_THING[case]
    metal = [step("scene"), step("filter_material", 0, values=["metal"]), step("unique", 1)]
    blue = [step("scene"), step("filter_color", 0, values=["blue"]), step("unique", 1)]
    scene = {**SCENE, "objects": [{**THINGS[0], **changed}, *THINGS[1:]]}
    raw = make_clevr(tmp_path / "raw", [asked(0, program=metal), asked(1, program=blue)], [scene])
    with pytest.raises(ValueError, match=r"CLEVR_train_questions\.json, question 0, object 0"):
        prepare("clevr_xai", data_dir=raw)
    splits, builder = prepare("clevr_xai", data_dir=raw, invalid="skip")
    assert list(splits["train"]["question_id"]) == ["1"]
    assert builder.report[reason]["count"] == 2  # in train and in validation


def test_objects_at_the_edge_are_clipped_and_outside_counted(prepare, tmp_path):
    objects = [thing(place=(2, 160, 10.0)), thing("cube", "large", "blue", "rubber", (900, 160, 10.0)), THINGS[2]]
    splits, builder = prepare(
        "clevr_xai", data_dir=make_clevr(tmp_path / "raw", [asked(0)], [{**SCENE, "objects": objects}])
    )
    ((x0, y0, x1, y1),) = splits["train"][0]["reference_boxes"]
    pixels = 480 * 35 / 32 * 0.35 / 10
    assert np.allclose([x0, y0, x1, y1], [0, (160 - pixels) / 320, (2 + pixels) / 480, (160 + pixels) / 320])
    assert builder.report["box partly outside the image, clipped"]["count"] == 2
    assert builder.report["object outside the image"]["count"] == 2


def test_programs_of_another_scene_are_refused(prepare, tmp_path):
    raw = make_clevr(tmp_path / "raw", scenes=[{**SCENE, "objects": [THINGS[0], THINGS[0], THINGS[2]]}])
    with pytest.raises(ValueError, match=r"needs one object and finds \[0, 1\]"):
        prepare("clevr_xai", data_dir=raw)


def test_scene_files_and_names_that_are_not_clear(prepare, build, tmp_path):
    raw = make_clevr(tmp_path / "raw", scenes=[SCENE, SCENE])
    with pytest.raises(ValueError, match=r"two scenes have image_filename 'CLEVR_train_000000\.png'"):
        prepare("clevr_xai", data_dir=raw)
    write_json(tmp_path / "raw" / "questions" / "CLEVR_minival_questions.json", [])
    with pytest.raises(ValueError, match=r"CLEVR_minival_questions\.json has no part's name"):
        build("clevr_xai", data_dir=raw)
    xai = make_clevr_xai(tmp_path / "xai")
    with pytest.raises(ValueError, match="importance: 'scenes' needs scene files"):
        build("clevr_xai", data_dir=str(xai), importance="scenes")
    with pytest.raises(ValueError, match="importance: got 'boxes'"):
        build("clevr_xai", data_dir=str(xai), importance="boxes")
    write_json(xai / "CLEVR_train_questions.json", [])
    with pytest.raises(ValueError, match="not of both"):
        build("clevr_xai", data_dir=str(xai))


def test_clevr_xai_with_scenes_beside_its_masks(prepare, tmp_path):
    raw = make_clevr_xai(tmp_path / "raw", [asked(0, program=program(("type", "side_inputs")))], [])
    write_json(raw / "CLEVR-XAI_scenes.json", {"scenes": [SCENE]})
    splits, _ = prepare("clevr_xai", data_dir=str(raw))
    assert "mask" in splits["train"].features
    splits, _ = prepare("clevr_xai", data_dir=str(raw), importance="scenes", kind="unique")
    assert splits["train"][0]["reference_boxes"] == [relative(0), relative(1)]

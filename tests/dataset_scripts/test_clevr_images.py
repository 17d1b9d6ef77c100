"""CLEVR's images: which file is a question's, and the size that the places of its objects are pixels of."""

import numpy as np
import pytest
from raw_folders import write_image
from raw_questions import write_json

NAME = "CLEVR_train_000000.png"
PROGRAM = [{"function": "scene", "inputs": []}, {"function": "unique", "inputs": [0]}]


def thing(x, y):
    return {"shape": "sphere", "size": "small", "color": "red", "material": "metal", "pixel_coords": [x, y, 10.0]}


def asked(index, **others):
    fields = {"question_index": index, "image_index": 0, "image_filename": NAME, "question": "Which?", "answer": "red"}
    return {**fields, "program": PROGRAM, **others}


def make(root, questions=None, places=((240, 80), (450, 300)), images=(), part="train"):
    """Two scenes of an object each; the questions are about the first."""
    write_json(
        root / f"questions/CLEVR_{part}_questions.json", {"questions": [asked(0)] if questions is None else questions}
    )
    scenes = [
        {"image_index": index, "image_filename": f"CLEVR_train_{index:06d}.png", "objects": [thing(*place)]}
        for index, place in enumerate(places)
    ]
    write_json(root / f"scenes/CLEVR_{part}_scenes.json", {"scenes": scenes})
    for path, size in images:
        write_image(root / path, *size)
    return str(root)


def centre(splits):
    x0, y0, x1, y1 = splits["train"][0]["reference_boxes"][0]
    return (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0


@pytest.mark.parametrize("size", [(480, 320), (240, 160), (224, 224), (128, 128), None])
@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_boxes_are_shares_of_the_rendered_image_whatever_the_file_was_resized_to(size, ending, prepare, tmp_path):
    images = [] if size is None else [(f"images/train/{NAME[:-3]}{ending}", size)]
    splits, _ = prepare("clevr_xai", data_dir=make(tmp_path / "raw", images=images))
    assert np.allclose(centre(splits), [0.5, 0.25, 2 * 35 / 32 * 0.35 / 10])


def test_scenes_rendered_in_another_size(prepare, tmp_path):
    places = ((400, 150), (790, 10))
    raw = make(tmp_path / "raw", places=places, images=[(f"images/{NAME}", (800, 600))])
    assert np.allclose(centre(prepare("clevr_xai", data_dir=raw)[0])[:2], [0.5, 0.25])
    raw = make(tmp_path / "small", places=((160, 60), (310, 230)), images=[(f"images/{NAME}", (224, 224))])
    assert np.allclose(centre(prepare("clevr_xai", data_dir=raw, scene_size=(320, 240))[0])[:2], [0.5, 0.25])


@pytest.mark.parametrize(
    ("places", "size", "options", "message"),
    [
        (((100, 80),), (240, 160), {}, "may be pixels of either"), (((240, 80),), (960, 640), {}, "may be pixels of either"),
        (((240, 80), (600, 80)), (224, 224), {}, "lie outside"),
    ],
)  # fmt: skip
def test_places_of_no_clear_size_are_refused(places, size, options, message, prepare, tmp_path):
    images = [] if size is None else [(f"images/{NAME}", size)]
    raw = make(tmp_path / "raw", places=places, images=images)
    with pytest.raises(ValueError, match=rf"question 0: .*{message}.*Pass scene_size=\(width, height\)"):
        prepare("clevr_xai", data_dir=raw, **options)


@pytest.mark.parametrize("name", [".DS_Store", "README.txt"])
def test_what_is_no_mask_does_not_make_masks_the_source(name, build, tmp_path):
    raw = make(tmp_path / "raw")
    (tmp_path / "raw" / "ground_truth").mkdir()
    (tmp_path / "raw" / "ground_truth" / name).touch()
    assert build("clevr_xai", data_dir=raw).config.source() == "scenes"


@pytest.mark.parametrize(("size", "options"), [(None, {}), ((480, 320), {}), ((240, 160), {"scene_size": [480, 320]})])
def test_one_place_outside_does_not_refuse_the_others(size, options, prepare, tmp_path):
    images = [] if size is None else [(f"images/{NAME}", size)]
    raw = make(tmp_path / "raw", places=((240, 80), (600, 80)), images=images)
    assert np.allclose(centre(prepare("clevr_xai", data_dir=raw, **options)[0])[:2], [0.5, 0.25])


@pytest.mark.parametrize("size", ["480x320", 480, (480,), (0, 320), (480.5, 320), (True, 320)])
def test_what_scene_size_may_be(size, build, tmp_path):
    with pytest.raises(ValueError, match=r"scene_size: got .* allowed: "):
        build("clevr_xai", data_dir=make(tmp_path / "raw"), scene_size=size)


def test_of_images_of_one_name_that_of_the_part_counts(prepare, tmp_path):
    images = [(f"images/train/{NAME}", (480, 320)), (f"images/val/{NAME}", (240, 160))]
    root = tmp_path / "raw"
    make(root, images=images)
    splits, _ = prepare("clevr_xai", data_dir=make(root, part="val"))
    assert [splits[split][0]["image"].size for split in ("train", "validation")] == [(480, 320), (240, 160)]


@pytest.mark.parametrize("name", [f"train/{NAME}", f"train\\{NAME}", f"a/{NAME}"])
def test_names_with_their_folder(name, prepare, tmp_path):
    folder = "a" if name.startswith("a") else "train"
    images = [(f"images/{folder}/{NAME}", (480, 320)), (f"images/other/{NAME}", (240, 160))]
    splits, _ = prepare("clevr_xai", data_dir=make(tmp_path / "raw", [asked(0, image_filename=name)], images=images))
    assert splits["train"][0]["image"].size == (480, 320)


def test_images_of_one_name_that_nothing_tells_apart_are_refused(prepare, tmp_path):
    images = [(f"images/{folder}/{NAME}", (480, 320)) for folder in "ab"]
    raw = make(tmp_path / "raw", [asked(0), asked(1, image_filename=f"b/{NAME}")], images=images)
    with pytest.raises(ValueError, match=r"question 0: its image may be any of \['a/.*', 'b/.*'\]"):
        prepare("clevr_xai", data_dir=raw)
    splits, builder = prepare("clevr_xai", data_dir=raw, invalid="skip")
    assert splits["train"]["question_id"][:] == ["1"]
    assert builder.report["several images of one name"]["count"] == 1


@pytest.mark.parametrize(
    "wrong",
    [{"image_index": 1.5, "image_filename": None}, {"image_index": True, "image_filename": None},
     {"image_filename": ["a"]}, {"image_filename": 5.5}, {"image": ["a"]}, {"question_index": "q1"}],
)  # fmt: skip
def test_ids_that_are_none_are_refused_or_counted(wrong, prepare, tmp_path):
    raw = make(tmp_path / "raw", [asked(0), asked(1, **wrong)])
    with pytest.raises(ValueError, match=r"CLEVR_train_questions\.json, question (1|q1): "):
        prepare("clevr_xai", data_dir=raw)
    splits, builder = prepare("clevr_xai", data_dir=raw, invalid="skip")
    assert splits["train"]["question_id"][:] == ["0"]
    assert sum(entry["count"] for reason, entry in builder.report.items() if reason != "question without image") == 1


def test_a_scene_whose_id_is_none_is_refused_or_counted(prepare, tmp_path):
    root = tmp_path / "raw"
    make(root)
    scene = {"image_index": 0, "image_filename": NAME, "objects": [thing(240, 80)]}
    wrong = {"image_index": 1.5, "image_filename": "x.png", "objects": None}
    write_json(root / "scenes/CLEVR_train_scenes.json", {"scenes": [scene, wrong]})
    with pytest.raises(ValueError, match=r"CLEVR_train_scenes\.json, scene 1: the id 1\.5 is neither text nor"):
        prepare("clevr_xai", data_dir=str(root))
    _, builder = prepare("clevr_xai", data_dir=str(root), invalid="skip")
    assert builder.report["image_index is no id"]["count"] == 1

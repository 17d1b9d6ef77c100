"""Folders of comparisons: written, read, refused, shown."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from comparisons import comparison_folder, rows_and_maps

from hf_guidance.apps.annotation import AnnotationFolder, write_annotation_folder
from hf_guidance.apps.trust_study import ComparisonFolder, write_comparison_folder


@pytest.fixture
def folder(tmp_path):
    return comparison_folder(tmp_path / "trust")


def redness(image):
    """Where a picture is reddest, in which quarter."""
    pixels = np.asarray(image, float)
    red = pixels[..., 0] - pixels[..., 1:].mean(-1)
    halves = [red[:120, :160].mean(), red[120:, 160:].mean()]
    return "top left" if halves[0] > halves[1] else "bottom right"


def test_there_and_back(folder):
    items, (rows, maps) = ComparisonFolder(folder), rows_and_maps()
    assert (items.models, items.ids[2], len(items)) == (("unguided", "hint"), "row-2", 6)
    item = items[2]
    assert (item.text, item.parts) == ("a fork beside 2 plates", ("fork", "the whole caption"))
    assert np.array_equal(item.maps, np.stack([maps["unguided"][2], maps["hint"][2]]))
    assert np.array_equal(np.asarray(item.image), np.asarray(rows[2]["image"]))
    assert "reasonable" in item.question
    assert ComparisonFolder(folder, "Which?")[0].question == "Which?"
    assert sorted(items.files()) == sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    )


def test_models_are_told_by_their_place_only(folder):
    item = ComparisonFolder(folder)[0]
    for swapped, expected in ((False, ["top left", "bottom right"]), (True, ["bottom right", "top left"])):
        (_, image), *groups = item.groups(swapped)
        assert len(image) == 1
        assert [heading for heading, _ in groups] == ["Model 1", "Model 2"]
        for (_, pictures), where in zip(groups, expected, strict=True):
            assert [caption for caption, _ in pictures] == ["fork", "the whole caption"]
            assert [redness(picture) for _, picture in pictures] == [where] * 2


def test_one_map_an_image_is_enough(tmp_path):
    rows, maps = rows_and_maps()
    bare = [{"image": row["image"]} for row in rows]
    items = ComparisonFolder(write_comparison_folder(bare, {n: m[:, 0] for n, m in maps.items()}, tmp_path / "one"))
    assert (items.ids, items[0].text, items[0].parts) == (list("012345"), "", ("where the model looks",))
    assert items[0].maps.shape == (2, 1, 4, 4)


def test_fingerprints_tell_models_texts_and_maps(folder, tmp_path):
    found = {ComparisonFolder(folder).fingerprint}
    for name in ("models", "text", "parts", "maps"):
        other = Path(shutil.copytree(folder, tmp_path / name))
        about = json.loads((other / "items.json").read_text())
        if name == "models":
            about["models"] = ["hint", "unguided"]
        elif name == "maps":
            maps = np.load(other / "maps.npy")
            maps[5, 1, 1, 0, 0] += 1
            np.save(other / "maps.npy", maps)
        else:
            about["items"][3][name] = "another" if name == "text" else ["knife", "the whole caption"]
        (other / "items.json").write_text(json.dumps(about))
        found.add(ComparisonFolder(other).fingerprint)
    assert len(found) == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda about: about.update(models=["one"]), r"models is \['one'\]; give the names of two models"),
        (lambda about: about.update(models=["one", "one"]), "give the names of two models"),
        (lambda about: about.update(models=["one", 2]), "give the names of two models"),
        (lambda about: about.pop("models"), "models is None"),
        (lambda about: about["items"][1].update(parts=["fork"]), r"item 1: parts is \['fork'\]; give 2 names"),
        (lambda about: about["items"][1].pop("parts"), "parts is None"),
        (lambda about: about["items"][1].update(image="../x.png"), "item 1: '../x.png' lies outside"),
        (lambda about: about["items"].pop(), r"must be floating-point numbers of shape \(5, 2, parts, h, w\)"),
    ],
)
def test_items_that_are_wrong(folder, change, message):
    about = json.loads((folder / "items.json").read_text())
    change(about)
    (folder / "items.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match=message):
        ComparisonFolder(folder)


def test_maps_that_are_wrong(folder):
    np.save(folder / "maps.npy", np.zeros((6, 3, 2, 4, 4), np.float32))
    with pytest.raises(ValueError, match=r"shape \(6, 3, 2, 4, 4\)"):
        ComparisonFolder(folder)
    (folder / "maps.npy").unlink()
    with pytest.raises(ValueError, match=r"has no maps\.npy"):
        ComparisonFolder(folder)


def test_a_folder_of_the_other_kind_is_refused(folder, tmp_path):
    with pytest.raises(ValueError, match=r"as hf_guidance.apps.annotation.write_annotation_folder"):
        AnnotationFolder(folder)
    rows, maps = rows_and_maps()
    other = write_annotation_folder(rows, maps["hint"][:, 0], tmp_path / "yes-no")
    with pytest.raises(ValueError, match=r"as hf_guidance.apps.trust_study.write_comparison_folder"):
        ComparisonFolder(other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows, maps: maps.pop("hint"), r"there are 1 models, \['unguided'\]; give two"),
        (lambda rows, maps: maps.update({"": maps.pop("hint")}), "give two, each by a name that is text and not empty"),
        (lambda rows, maps: maps.update({2: maps.pop("hint")}), "give two, each by a name"),
        (lambda rows, maps: maps.update(hint=maps["hint"][:5]), "hint has 5 maps for 6 rows"),
        (lambda rows, maps: rows.clear(), "unguided has 6 maps for 0 rows"),
        (lambda rows, maps: maps.update(hint=maps["hint"][..., :3]), r"map 0 of hint has shape \(2, 4, 3\), the first"),
        (lambda rows, maps: maps.update(hint=maps["hint"][:, 0, 0]), r"map 0 of hint has shape \(4,\)"),
        (lambda rows, maps: rows[4].pop("parts"), "row 4: parts is .*, its maps are 2"),
        (lambda rows, maps: rows[4].update(parts="ab"), r"row 4: parts is \['ab'\], its maps are 2"),
        (lambda rows, maps: rows[4].update(image_id="row-0"), "the id 'row-0' is there 2 times"),
    ],
)
def test_rows_and_maps_that_do_not_fit(tmp_path, change, message):
    rows, maps = rows_and_maps()
    change(rows, maps)
    with pytest.raises(ValueError, match=message):
        write_comparison_folder(rows, maps, tmp_path / "trust")
    assert not list(tmp_path.iterdir()), "nothing half written"


def test_an_image_that_cannot_be_read_is_refused_before_anybody_rates(folder):
    (folder / "images" / "4.png").write_bytes((folder / "images" / "4.png").read_bytes()[:200])
    with pytest.raises(ValueError, match=r"4\.png"):
        ComparisonFolder(folder)


def test_saved_maps_leave_their_fingerprints(tmp_path):
    class Maps(list):
        def __init__(self, maps, fingerprint):
            super().__init__(maps)
            self.fingerprint = fingerprint

    rows, maps = rows_and_maps()
    found = set()
    for number, last in enumerate("ab"):
        saved = {"unguided": Maps(maps["unguided"], "u"), "hint": Maps(maps["hint"], last)}
        found.add(ComparisonFolder(write_comparison_folder(rows, saved, tmp_path / str(number))).fingerprint)
    assert len(found) == 2

"""Which lists of a VOC folder are splits: every list is read, refused, or counted, never left out without a word."""

import pytest
from raw_folders import make_voc

ALL = ["0", "1", "2", "3"]


@pytest.fixture
def raw(tmp_path):
    root = make_voc(tmp_path / "raw")
    for name in ("train", "val"):
        (root / "ImageSets" / "Main" / f"{name}.txt").unlink()
    return root


def write(root, lists, folder="ImageSets/Main"):
    (root / folder).mkdir(parents=True, exist_ok=True)
    for name, text in lists.items():
        (root / folder / f"{name}.txt").write_text(text)
    return str(root)


def ids(splits):
    return {name: rows["image_id"][:] for name, rows in splits.items()}


@pytest.mark.parametrize("name", ["validation", "Val", "VALIDATION", "val2007"])
@pytest.mark.parametrize("folder", ["ImageSets/Main", "ImageSets"])
def test_names_of_splits(name, folder, raw, prepare):
    splits, builder = prepare("pascal_voc", data_dir=write(raw, {"train": "0\n1\n2\n", name: "3\n"}, folder))
    assert ids(splits) == {"train": ["0", "1", "2"], "validation": ["3"]}
    assert builder.report == {}


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        *((name, {}) for name in ("train2", "val_old", "mytrain", "testdev", "valid", "training", "train_aug")),
        *((name, {"train": "1\n"}) for name in ("val_old", "testdev", "valid")), ("train_aug", {"val": "1\n"}),
    ],
)  # fmt: skip
def test_names_that_are_only_like_a_split_are_refused(name, beside, raw, build):
    with pytest.raises(ValueError, match=rf"{name}\.txt: its name is only like that of a split; name the lists"):
        build("pascal_voc", data_dir=write(raw, {**beside, name: "0\n"}))


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("cat_train", "ImageSets/Main"), ("holdout", "ImageSets/Main"), ("train", "ImageSets/Segmentation"),
        ("part1", "ImageSets/deep/er"), ("train", "."), ("Val2012", "."),
    ],
)  # fmt: skip
def test_lists_of_which_none_is_a_split_are_refused(name, folder, raw, build):
    with pytest.raises(ValueError, match=rf"{name}\.txt: no list in .*ImageSets/Main is of a split; name the lists"):
        build("pascal_voc", data_dir=write(raw, {name: "0\n"}, folder))


def test_beside_a_split_lists_of_a_class_are_as_in_voc_and_others_counted(raw, prepare):
    write(raw, {"classes": "cat\n", "LICENSE": "free\n"}, ".")
    lists = {"train": "\n".join(ALL), "cat_train": "0  1\n", "train_trainval": "0 -1\n", "holdout": "0\n"}
    splits, builder = prepare("pascal_voc", data_dir=write(raw, lists))
    assert ids(splits) == {"train": ALL}
    ((reason, entry),) = builder.report.items()
    assert reason == "list whose name says no split, not read"
    assert [path.rpartition("/")[2] for path in entry["examples"]] == ["holdout.txt"]


@pytest.mark.parametrize("name", ["train_s", "train_aug", "trainval_10pct", "train2"])
def test_further_lists_of_a_split_are_counted(name, raw, prepare):
    splits, builder = prepare("pascal_voc", data_dir=write(raw, {"train": "\n".join(ALL), name: "0\n"}))
    assert ids(splits) == {"train": ALL}
    assert builder.report["list whose name says no split, not read"]["count"] == 1


@pytest.mark.parametrize("names", [5, "cat", {"cat"}, ["cat", 5]])
def test_what_names_may_be(names, raw, build):
    with pytest.raises(ValueError, match=r"names: got .*; allowed: a list of names"):
        build("pascal_voc", data_dir=str(raw), names=names)


def test_texts_beside_the_folders_are_no_lists(raw, prepare):
    splits, _ = prepare("pascal_voc", data_dir=write(raw, {"test_notes": "x\n"}, "."))
    assert ids(splits) == {"train": ALL}


def test_two_lists_of_one_split_are_refused(raw, build):
    with pytest.raises(ValueError, match=r"val\.txt and .*validation\.txt are both of split validation"):
        build("pascal_voc", data_dir=write(raw, {"val": "0\n", "validation": "1\n"}))


@pytest.mark.parametrize(
    "line", ["0.xml", "0.jpg", "/data/VOC/JPEGImages/0.jpg", "JPEGImages\\0.jpg", "Annotations/0.xml",
             "JPEGImages/0.jpg Annotations/0.xml"]
)  # fmt: skip
def test_lines_that_are_paths(line, raw, prepare):
    splits, builder = prepare("pascal_voc", data_dir=write(raw, {"train": f"{line}\n", "test": "1\n2\n3\n"}))
    assert ids(splits) == {"train": ["0"], "test": ["1", "2", "3"]}
    assert builder.report == {}


@pytest.mark.parametrize("line", ["0  1", "0 -1", "/data/0.jpg", "C:\\data\\0.jpg"])
def test_lines_that_are_no_ids_are_told(line, raw, prepare):
    with pytest.raises(ValueError, match="A line of a split file is one id: a path below Annotations/, without a flag"):
        prepare("pascal_voc", data_dir=write(raw, {"train": f"{line}\n"}))

"""biased_celeba: the rule of the paper, drawing by a seed, and the lists that were released."""

from collections import Counter

import numpy as np
import pytest
from raw_folders import CELEBA_HEADER, CELEBA_SIZES, celeba_lines, make_celeba

from hf_guidance.data.builders import _builder_class

GROUPS = [
    "not_smiling_with_blond_hair", "not_smiling_with_black_hair", "smiling_with_blond_hair", "smiling_with_black_hair",
]  # fmt: skip
ALL_HAIR = [f"{row + 1:06d}.jpg -1 {black} {blond} 1 1" for row, (black, blond) in enumerate(((1, 1), (-1, -1)))]


def sizes(splits) -> dict[str, list[int]]:
    counts = {name: Counter(split["group"]) for name, split in splits.items()}
    return {name: [count[group] for group in range(4)] for name, count in counts.items()}


def numbered(lines: list[str]) -> list[str]:
    return [f"{row + 1:06d}.jpg {line.split(maxsplit=1)[1]}" for row, line in enumerate(lines)]


def test_groups_are_label_and_hair(tmp_path, prepare):
    splits, builder = prepare("biased_celeba", data_dir=str(make_celeba(tmp_path / "raw")), **CELEBA_SIZES)
    assert builder.info.features["group"].names == GROUPS
    assert builder.info.features["labels"].feature.names == ["not_smiling", "smiling"]
    assert "mask" not in builder.info.features
    assert sizes(splits) == {"train": [4, 2, 2, 4], "validation": [1, 1, 1, 1], "test": [2, 2, 2, 2]}
    for split in splits.values():
        assert [row["labels"] for row in split] == [[row["group"] // 2] for row in split]
        assert split["image_id"] == sorted(split["image_id"])
        assert [row["objects"] for row in split] == [[]] * len(split)
    assert max(splits["train"]["image_id"]) == "000012.jpg"
    assert splits["train"][1]["group"] == 3  # line 2: black hair and a smile


def test_sizes_of_the_paper_are_the_defaults():

    config = _builder_class("biased_celeba").BUILDER_CONFIG_CLASS()
    assert (config.train_rows, config.aligned, config.conflicting, config.test_per_group) == (162770, 10000, 100, 2000)


def test_rows_of_other_hair_and_rows_not_drawn_are_counted(tmp_path, prepare):
    lines = numbered([*ALL_HAIR, *celeba_lines()])
    options = CELEBA_SIZES | {"train_rows": 14, "aligned": 3, "validation_per_group": 0}
    splits, builder = prepare("biased_celeba", data_dir=str(make_celeba(tmp_path / "raw", lines)), **options)
    assert sizes(splits) == {"train": [3, 2, 2, 3], "test": [2, 2, 2, 2]}
    report = builder.report
    assert report["hair both black and blond, or neither, left out by the rule"] == {
        "count": 2,
        "examples": ["000001.jpg", "000002.jpg"],
    }
    assert report["row of CelebA that was not drawn, left out on request"]["count"] == 1 + 1 + 4
    assert len(report) == 2


def test_seeds_draw_other_rows_and_more_rows_contain_fewer(tmp_path, prepare):
    lines = numbered([line for line in celeba_lines() for _ in range(8)])
    root = str(make_celeba(tmp_path / "raw", lines))
    options = {"data_dir": root, "train_rows": 96, "aligned": 5, "conflicting": 3, "test_per_group": 6}

    def drawn(**changed):
        splits, _ = prepare("biased_celeba", **(options | changed))
        return {name: set(split["image_id"]) for name, split in splits.items()}

    first = drawn()
    assert drawn(cache_dir=str(tmp_path / "other")) == first
    other = drawn(seed=1)
    assert other["train"] != first["train"]
    assert other["test"] != first["test"]
    more = drawn(aligned=7, validation_per_group=5)
    assert first["train"] < more["train"]
    assert len(more["train"]) == len(first["train"]) + 4
    assert more["test"] == first["test"]
    assert len(more["validation"]) == 20
    assert not more["validation"] & (more["test"] | more["train"])


def write_list(root, name, lines, separator=" "):
    header = ["Filename", *CELEBA_HEADER.split()]
    text = [separator.join(fields) for fields in (header, *(line.split() for line in lines))]
    (root / name).write_text("\n".join(text) + "\n")


@pytest.mark.parametrize("separator", [" ", ","])
def test_released_lists_are_taken_row_by_row(separator, tmp_path, prepare):
    root = make_celeba(tmp_path / "raw")
    lines = celeba_lines(no=0)
    shuffled = [lines[row] for row in np.random.default_rng(0).permutation(12)]
    write_list(root, "train.csv", shuffled, separator)
    write_list(root, "test.csv", lines[12:20], separator)
    (root / "list_attr_celeba.txt").unlink()
    options = {"data_dir": str(root), "train_file": "train.csv", "test_file": str(root / "test.csv")}
    splits, builder = prepare("biased_celeba", **options)
    assert splits["train"]["image_id"] == [line.split()[0] for line in shuffled]
    assert sizes(splits) == {"train": [4, 2, 2, 4], "test": [2, 2, 2, 2]}
    assert builder.report == {}


@pytest.mark.parametrize("form", ["released", "csv", "index", "no count"])
def test_forms_of_the_attribute_file_give_the_same_rows(form, tmp_path, prepare):
    root = make_celeba(tmp_path / "raw")
    expected, _ = prepare("biased_celeba", data_dir=str(root), **CELEBA_SIZES)
    lines = celeba_lines(no=0 if form == "released" else -1)
    if form == "no count":
        (root / "other").write_text("\n".join([CELEBA_HEADER, *lines]))
    else:
        write_list(root, "other", lines, " " if form == "released" else ",")
    if form == "index":
        (root / "other").write_text((root / "other").read_text().replace("Filename", "", 1))
    given, _ = prepare("biased_celeba", data_dir=str(root), attributes_file="other", **CELEBA_SIZES)
    for name, split in expected.items():
        assert given[name].remove_columns("image")[:] == split.remove_columns("image")[:]


def test_the_partition_file_says_the_split_where_lines_are_not_sorted(tmp_path, prepare, build):
    root = make_celeba(tmp_path / "raw")
    expected, _ = prepare("biased_celeba", data_dir=str(root), **CELEBA_SIZES)
    lines = celeba_lines()
    make_celeba(root, lines[::-1])
    with pytest.raises(ValueError, match=r"line 4: '000023.jpg' comes after '000024.jpg'.*pass partition_file="):
        prepare("biased_celeba", data_dir=str(root), **CELEBA_SIZES)
    parts = [f"{line.split()[0]} {0 if row < 12 else 1 + row % 2}" for row, line in enumerate(lines)]
    for header in ([], ["image_id partition"]):
        text = "\n".join([*header, *parts])
        (root / "list_eval_partition.txt").write_text(text.replace(" ", ",") if header else text)
        options = {"data_dir": str(root), "partition_file": "list_eval_partition.txt", **CELEBA_SIZES}
        splits, _ = prepare("biased_celeba", **options)
        assert set(splits["train"]["image_id"]) == set(expected["train"]["image_id"])
        assert sizes(splits) == sizes(expected)
    for bad, message in (
        (parts[:-1], "list_eval_partition.txt: 000024.jpg of .* is not in it"),
        ([*parts, parts[0]], r"line 25: got '000001.jpg 0'; allowed: an image, each once"),
        ([*parts[:-1], "000024.jpg 3"], "line 24: got '000024.jpg 3'"),
        ([*parts[:-1], "000024.jpg"], "line 24"),
    ):
        (root / "list_eval_partition.txt").write_text("\n".join(bad))
        with pytest.raises(ValueError, match=message):
            prepare("biased_celeba", **options)


def test_masks_of_a_folder_become_mask_and_box(tmp_path, prepare):
    root = make_celeba(tmp_path / "raw")
    splits, _ = prepare("biased_celeba", data_dir=str(root), mask_dir="mouths", **CELEBA_SIZES)
    for row in splits["test"]:
        assert row["objects"] == [{"bbox": [6, 15, 14, 19], "category": row["labels"][0]}]
        mask = np.asarray(row["mask"])
        assert np.unique(mask).tolist() == [0, 255]
        assert (mask == 255).sum() == 4 * 8


def test_png_images_under_jpg_names(tmp_path, prepare):
    root = make_celeba(tmp_path / "raw")
    for path in (root / "img_align_celeba").iterdir():
        path.rename(path.with_suffix(".png"))
    splits, _ = prepare("biased_celeba", data_dir=str(root), **CELEBA_SIZES)
    assert splits["train"][0]["image_id"] == "000001.jpg"
    assert splits["train"][0]["image"].size == (20, 24)


@pytest.mark.parametrize("changed", ["attributes", "image", "mask", "nothing"])
def test_changed_files_are_read_again(changed, tmp_path, prepare):
    root = make_celeba(tmp_path / "raw")
    options = {"data_dir": str(root), "mask_dir": "mouths", **CELEBA_SIZES}
    _, before = prepare("biased_celeba", **options)
    if changed == "attributes":
        path = root / "list_attr_celeba.txt"
        path.write_text(path.read_text().replace("-1", "0"))
    elif changed != "nothing":
        path = root / {"image": "img_align_celeba/000001.jpg", "mask": "mouths/000001.png"}[changed]
        path.write_bytes(path.read_bytes() + b" ")
    _, after = prepare("biased_celeba", **options)
    assert (before.cache_dir == after.cache_dir) == (changed == "nothing")

"""imagenet9: variants, masks of what stands before the background, and bad input."""

import datasets
import numpy as np
import pytest
from PIL import Image
from raw_folders import make_imagenet9, write_image

NAMES = ["dog", "bird", "vehicle", "reptile", "carnivore", "insect", "instrument", "primate", "fish"]
VARIANTS = ["original", "mixed_same", "mixed_rand", "only_fg"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_has_the_classes_in_the_order_of_the_challenge(variant, tmp_path, prepare):
    splits, builder = prepare("imagenet9", data_dir=str(make_imagenet9(tmp_path / "raw")), variant=variant)
    assert builder.info.features["labels"].feature.names == NAMES
    assert builder.info.features["group"].names == VARIANTS
    assert list(splits) == (["train", "test"] if variant in ("original", "only_fg") else ["test"])
    for name, split in splits.items():
        assert split["labels"][:] == [[label] for label in range(9) for _ in range(2)]
        assert set(split["group"]) == {VARIANTS.index(variant)}
        folder = {"train": "train", "test": "val"}[name]
        assert split["image_id"][4] == f"{variant}/02_wheeled vehicle/{folder}0.JPEG"
        assert split["objects"][0] == []
        assert "mask" not in split.features
    assert builder.report == {}


def test_test_sets_of_two_variants_are_one_for_background_gap(tmp_path, prepare):
    root = str(make_imagenet9(tmp_path / "raw"))
    parts = [prepare("imagenet9", data_dir=root, variant=name)[0]["test"] for name in ("mixed_same", "mixed_rand")]
    both = datasets.concatenate_datasets(parts)
    assert len(set(both["image_id"])) == len(both) == 36
    assert both.features["group"].int2str(both["group"][:]) == ["mixed_same"] * 18 + ["mixed_rand"] * 18


def test_masks_are_where_only_fg_is_not_black(tmp_path, prepare):
    root = make_imagenet9(tmp_path / "raw")
    path = root / "only_fg" / "train" / "00_dog" / "train0.JPEG"
    pixels = np.asarray(Image.open(path)).copy()
    pixels[0, 0] = (0, 9, 0)  # what JPEG leaves on black
    Image.fromarray(pixels).save(path, "PNG")
    for above, count, box in ((0, 121, [0, 0, 20, 15]), (9, 120, [8, 5, 20, 15])):
        splits, _ = prepare("imagenet9", data_dir=str(root), mask_dir="only_fg", mask_above=above)
        row = splits["train"][0]
        assert row["objects"] == [{"bbox": box, "category": 0}]
        mask = np.asarray(row["mask"])
        assert np.unique(mask).tolist() == [0, 255]
        assert (mask == 255).sum() == count
    path.rename(path.with_suffix(".png"))
    splits, _ = prepare("imagenet9", data_dir=str(root), mask_dir=str(root / "only_fg"), mask_above=9)
    assert splits["train"][0]["objects"][0]["bbox"] == [8, 5, 20, 15]


def test_folders_below_the_classes_and_hidden_files(tmp_path, prepare):
    root = make_imagenet9(tmp_path / "raw")
    train = root / "original" / "train"
    write_image(train / "00_dog" / "part" / "a.png")
    for name in (".DS_Store", "00_dog/._b.JPEG"):
        (train / name).write_text("x")
    splits, builder = prepare("imagenet9", data_dir=str(root))
    assert splits["train"]["image_id"][0] == "original/00_dog/part/a.png"
    assert len(splits["train"]) == 19
    assert builder.report == {}


def cut(path):
    path.write_bytes(path.read_bytes()[:200])


# what is done to original/train, the reason it is counted under, what the error must say, and how many rows stay
ROWS = {
    "folder": (
        lambda root: (root / "00_dog").rename(root / "dog"),
        {"unknown folder of a class": 2, "class without an image": 1},
        r"dog/train0\.JPEG: its folder is 'dog'; allowed: 00_dog, 01_bird",
        16,
    ),
    "tenth": (
        lambda root: write_image(root / "09_plant" / "a.png"),
        {"unknown folder of a class": 1},
        "its folder is '09_plant'",
        18,
    ),
    "number and name": (
        lambda root: write_image(root / "00_fish" / "a.png"),
        {"unknown folder of a class": 1},
        "its folder is '00_fish'",
        18,
    ),
    "beside": (
        lambda root: write_image(root / "a.png"),
        {"file outside of the folders of classes": 1},
        r"a\.png: it lies beside the folders of the classes",
        18,
    ),
    "no image": (
        lambda root: (root / "00_dog" / "list.txt").write_text("a"),
        {"file that is no image by its name": 1},
        r"list\.txt: its name ends like none of an image",
        18,
    ),
    "cut": (
        lambda root: cut(root / "00_dog" / "train0.JPEG"),
        {"unreadable or truncated image": 1},
        r"train0\.JPEG: the image is unreadable",
        17,
    ),
    "class": (
        lambda root: [path.unlink() for path in (root / "08_fish").iterdir()],
        {"class without an image": 1},
        r"train, fish: there is no image of class 08_fish",
        16,
    ),
}


@pytest.mark.parametrize("case", ROWS)
def test_bad_rows(case, tmp_path, prepare):
    root = make_imagenet9(tmp_path / "raw")
    spoil, counts, message, rows = ROWS[case]
    spoil(root / "original" / "train")
    with pytest.raises(ValueError, match=message) as error:
        prepare("imagenet9", data_dir=str(root))
    assert "invalid='skip'" in str(error.value)
    assert str(root) in str(error.value)
    splits, builder = prepare("imagenet9", data_dir=str(root), invalid="skip")
    assert {reason: entry["count"] for reason, entry in builder.report.items()} == counts
    assert {name: len(split) for name, split in splits.items()} == {"train": rows, "test": 18}


MASKS = {
    "gone": (lambda path: path.unlink(), "label without mask", r"there is no mask .*only_fg.*train0\.JPEG"),
    "black": (lambda path: Image.new("RGB", (40, 30)).save(path), "empty mask", "holds no pixel above 0"),
    "size": (
        lambda path: write_image(path, 30, 40),
        "size of mask and image differ",
        r"is \(30, 40\), the image \(40, 30\)",
    ),
    "cut": (cut, "unreadable or truncated image", r"only_fg.*train0\.JPEG: the image is unreadable"),
}


@pytest.mark.parametrize("case", MASKS)
def test_bad_masks(case, tmp_path, prepare):
    root = make_imagenet9(tmp_path / "raw")
    spoil, reason, message = MASKS[case]
    path = root / "only_fg" / "train" / "00_dog" / "train0.JPEG"
    write_image(path)
    spoil(path)
    options = {"data_dir": str(root), "mask_dir": "only_fg"}
    with pytest.raises(ValueError, match=message):
        prepare("imagenet9", **options)
    splits, builder = prepare("imagenet9", invalid="skip", **options)
    assert {key: entry["count"] for key, entry in builder.report.items()} == {reason: 1}
    row = splits["train"][0]
    assert (row["labels"], row["mask"], row["objects"]) == ([0], None, [])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"variant": "mixed_next"},
            "variant: got 'mixed_next'; allowed: 'original', 'mixed_same', 'mixed_rand', 'only_fg'",
        ),
        ({"mask_above": 255}, "mask_above: got 255; allowed: a whole number from 0 to 254"),
        ({"mask_above": 0.5}, "mask_above: got 0.5"),
        ({"mask_dir": "masks"}, r"mask_dir: .*raw/masks is not a folder; pass the folder of only_fg"),
        ({"data_dir": None}, "data_dir: got None; pass the folder that holds the folders original, mixed_same"),
        ({"data_dir": "nowhere"}, "data_dir: neither .*nowhere/original/train nor .*nowhere/original/val is a folder"),
    ],
)
def test_bad_options_are_named(changed, message, tmp_path, build):
    root = str(make_imagenet9(tmp_path / "raw"))
    with pytest.raises(ValueError, match=message):
        build("imagenet9", **({"data_dir": root} | changed))


@pytest.mark.parametrize("changed", ["image", "mask", "new image", "nothing"])
def test_changed_files_are_read_again(changed, tmp_path, prepare):
    root = make_imagenet9(tmp_path / "raw")
    _, before = prepare("imagenet9", data_dir=str(root), mask_dir="only_fg")
    if changed != "nothing":
        variant = "only_fg" if changed == "mask" else "original"
        name = "new.JPEG" if changed == "new image" else "train0.JPEG"
        write_image(root / variant / "train" / "00_dog" / name, 40, 30)
        write_image(root / "only_fg" / "train" / "00_dog" / name, 40, 30)
    _, after = prepare("imagenet9", data_dir=str(root), mask_dir="only_fg")
    assert (before.cache_dir == after.cache_dir) == (changed == "nothing")

"""biased_celeba against every kind of bad input: named when it raises, counted when it is skipped."""

import pytest
from PIL import Image
from raw_folders import CELEBA_HEADER, CELEBA_SIZES, celeba_lines, make_celeba

# what is done to the folder with masks, the reason it is counted under, and what the error must say
FIRST = "000001.jpg  -1 -1  1 -1  1"


def edit(old, new):
    def spoil(root):
        path = root / "list_attr_celeba.txt"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    return spoil


def cut(name):
    def spoil(root):
        path = root / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return spoil


IMAGE, MASK = "img_align_celeba/000001.jpg", "mouths/000001.png"
ROWS = {
    "fields": (
        edit(FIRST, FIRST[:-3]),
        "line with too few or too many fields",
        r"line 3 .*has 5 fields, the header tells 6",
    ),
    "smiling": (
        edit(FIRST, "000001.jpg -1 -1 1 2 1"),
        "unknown Smiling",
        r"line 3 .*Smiling is '2'; allowed: 1 for yes",
    ),
    "fraction": (edit(FIRST, "000001.jpg -1 -1 0.5 -1 1"), "unknown Blond_Hair", "Blond_Hair is '0.5'"),
    "word": (edit(FIRST, "000001.jpg -1 yes 1 -1 1"), "unknown Black_Hair", "Black_Hair is 'yes'"),
    "twice": (edit("000009.jpg", "000008.jpg"), "image twice", "line 11 .*an earlier line has the same image"),
    "gone": (
        lambda root: (root / IMAGE).unlink(),
        "line without image",
        r"line 3 \(000001.jpg\): there is no image .*jpg",
    ),
    "cut": (cut(IMAGE), "unreadable or truncated image", "000001.jpg: the image is unreadable"),
}
MASKS = {
    "gone": (lambda path: path.unlink(), "label without mask", r"line 3 .*there is no mask .*000001\.png"),
    "empty": (lambda path: Image.new("L", (20, 24), 100).save(path), "empty mask", "no pixel of 128"),
    "size": (lambda path: Image.new("L", (24, 20), 255).save(path), "size of mask and image differ", r"\(24, 20\)"),
    "colours": (
        lambda path: Image.new("RGB", (20, 24), (9, 200, 9)).save(path),
        "colours for one channel",
        "one channel",
    ),
}


def options(root, **changed):
    sizes = CELEBA_SIZES | {"aligned": 3, "conflicting": 1, "validation_per_group": 0}
    return {"data_dir": str(root), "mask_dir": "mouths", **sizes, **changed}


def counted(builder):
    drawn = "row of CelebA that was not drawn, left out on request"
    return {key: entry["count"] for key, entry in builder.report.items() if key != drawn}


@pytest.mark.parametrize("case", ROWS)
def test_bad_rows(case, tmp_path, prepare):
    root = make_celeba(tmp_path / "raw")
    spoil, reason, message = ROWS[case]
    spoil(root)
    given = options(root, aligned=4 if case in ("gone", "cut") else 3)  # so that the row is drawn
    with pytest.raises(ValueError, match=message) as error:
        prepare("biased_celeba", **given)
    assert "invalid='skip'" in str(error.value)
    splits, builder = prepare("biased_celeba", invalid="skip", **given)
    assert counted(builder) == {reason: 1}
    assert ("000001.jpg" in splits["train"]["image_id"]) == (
        case == "twice" and "000001.jpg" in splits["train"]["image_id"]
    )
    assert len(splits["train"]) == (9 if case in ("gone", "cut") else 8)


@pytest.mark.parametrize("case", MASKS)
def test_bad_masks(case, tmp_path, prepare):
    root = make_celeba(tmp_path / "raw")
    spoil, reason, message = MASKS[case]
    spoil(root / MASK)
    given = options(root, aligned=4)
    with pytest.raises(ValueError, match=message):
        prepare("biased_celeba", **given)
    splits, builder = prepare("biased_celeba", invalid="skip", **given)
    assert counted(builder) == {reason: 1}
    row = splits["train"][0]
    assert (row["image_id"], row["mask"], row["objects"], row["labels"]) == ("000001.jpg", None, [], [0])


LINES = celeba_lines()
FILES = {
    "cut short": (
        "\n".join(["24", CELEBA_HEADER, *LINES[:-1]]),
        "23 lines below the header, and the first line says 24",
    ),
    "no row": (CELEBA_HEADER, "it has 0 lines below the header; give the whole file"),
    "empty": ("", "header must have Smiling, Black_Hair, Blond_Hair once each"),
    "no smiling": ("\n".join(["A B C D E", *LINES]), "Smiling, Black_Hair, Blond_Hair is missing or there twice"),
    "column twice": (
        "\n".join(["Smiling Black_Hair Blond_Hair Smiling Young", *LINES]),
        "and Smiling is missing or",
    ),
    "two encodings": (
        "\n".join([CELEBA_HEADER, *LINES[:-1], celeba_lines(no=0)[-1]]),
        "line 25 holds 0 and line 2 holds -1, and 0 may then mean no or not known",
    ),
    "latin-1": ("Möwe", "this is not UTF-8"),
}


@pytest.mark.parametrize("invalid", ["raise", "skip"])
@pytest.mark.parametrize("case", FILES)
def test_files_that_cannot_be_trusted(case, invalid, tmp_path, build):
    root = make_celeba(tmp_path / "raw")
    text, message = FILES[case]
    (root / "list_attr_celeba.txt").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=message):
        build("biased_celeba", invalid=invalid, **options(root))


LISTED = ["a.jpg 0 1 1 0 0", "a.jpg 0 0 0 0 0", "000001.jpg 0 0 1 0 1"]  # black and blond, neither, in train too


@pytest.mark.parametrize("line", LISTED)
def test_lists_with_rows_that_the_rule_leaves_out(line, tmp_path, prepare):
    root = make_celeba(tmp_path / "raw", [*celeba_lines(), "a.jpg -1 1 1 1 1"])
    lines = celeba_lines(no=0)
    for name, rows in (("train", lines[:12]), ("test", [*lines[12:], line])):
        (root / name).write_text("\n".join([f"Filename {CELEBA_HEADER}", *rows]))
    given = {"data_dir": str(root), "train_file": "train", "test_file": "test"}
    again = line is LISTED[2]
    with pytest.raises(
        ValueError, match="an earlier line has the same image" if again else "allowed: exactly one of them"
    ):
        prepare("biased_celeba", **given)
    splits, builder = prepare("biased_celeba", invalid="skip", **given)
    assert counted(builder) == {"image twice" if again else "hair both black and blond, or neither": 1}
    assert {name: len(split) for name, split in splits.items()} == {"train": 12, "test": 12}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"aligned": 5}, "aligned: 5 rows of not_smiling_with_blond_hair are asked, and the files have 4; lower it"),
        ({"conflicting": 3}, "conflicting: 3 rows of not_smiling_with_black_hair are asked, and the files have 2"),
        (
            {"test_per_group": 4},
            "test_per_group: 4 rows of not_smiling_with_blond_hair are asked, and the files have 3",
        ),
        ({"validation_per_group": 2}, "validation_per_group: 2 rows .* have 3, of which 2 are taken"),
        ({"train_rows": 24}, "test_per_group: 2 rows of .*, and the files have 0; .*the whole list of CelebA"),
        ({"aligned": -1}, "aligned: got -1; allowed: a whole number, 0 or more"),
        ({"seed": 0.5}, "seed: got 0.5; allowed: a whole number"),
        ({"aligned": True}, "aligned: got True"),
        ({"train_file": "train"}, "test_file: got None; pass train_file and test_file, or neither"),
        ({"test_file": "test"}, "train_file: got None"),
        (
            {"train_file": "a", "test_file": "b", "validation_per_group": 1},
            "validation_per_group: got 1; allowed: 0 with",
        ),
        ({"train_file": "a", "test_file": "b"}, "train_file: .*raw/a is not a file"),
        ({"attributes_file": "other"}, "attributes_file: .*raw/other is not a file"),
        ({"partition_file": "other"}, "partition_file: .*raw/other is not a file"),
        ({"image_dir": "other"}, "image_dir: .*raw/other is not a folder"),
        ({"mask_dir": "other"}, "mask_dir: .*raw/other is not a folder"),
    ],
)
def test_bad_options_are_named(changed, message, tmp_path, prepare):
    root = make_celeba(tmp_path / "raw")
    with pytest.raises(ValueError, match=message):
        prepare("biased_celeba", **options(root, **changed))
    with pytest.raises(ValueError, match=r"data_dir: got None|attributes_file: .*is not a file"):
        prepare("biased_celeba")


def test_no_train_row_at_all_is_an_error_too(tmp_path, prepare):
    root = make_celeba(tmp_path / "raw")
    for path in (root / "img_align_celeba").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="no row left in train, test"):
        prepare("biased_celeba", invalid="skip", **options(root))

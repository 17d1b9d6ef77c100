"""Text files of waterbirds, pascal_voc and coco_objects that are torn by a quote, or are not UTF-8."""

import json

import pytest
from raw_folders import WATERBIRDS_HEADER, make_coco, make_voc, make_waterbirds

ROWS = [f"{index + 1},birds/{index}.jpg,{index % 2},{index // 2},{index % 2},x" for index in range(6)]  # two a split


def waterbirds(root, lines, end="\n"):
    make_waterbirds(root, 6)
    (root / "metadata.csv").write_bytes((end.join([WATERBIRDS_HEADER, *lines]) + end).encode())
    return str(root)


def sizes(splits):
    return {name: len(split) for name, split in splits.items()}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["unix", "windows", "old"])
def test_six_rows_in_three_splits(end, tmp_path, prepare):
    rows = [ROWS[0], '2,birds/1.jpg,1,0,1,"a ""b"", c"', "", *ROWS[2:]]  # quotes that are closed, a blank line
    splits, _ = prepare("waterbirds", data_dir=waterbirds(tmp_path / "raw", rows, end))
    assert sizes(splits) == {"train": 2, "validation": 2, "test": 2}


# the place_filename of rows, and what the error must say
QUOTES = {
    "never closed": ({0: '"x'}, "line 2: this is not well-formed csv .*close the quote"),
    "never closed in the fourth": ({3: '"x'}, "line 5: this is not well-formed csv"),
    "closed by a later row": ({1: '"x', 4: 'x"'}, r"line 3: the value 'x\\n3,birds/2.jpg.* goes over several lines"),
    "closed too early": ({1: '"x"y'}, "line 3: this is not well-formed csv"),
    "too long for a field": ({0: '"' + 200_000 * "x"}, "line 2: this is not well-formed csv"),
}


@pytest.mark.parametrize("case", QUOTES)
@pytest.mark.parametrize("invalid", ["raise", "skip"])
def test_a_quote_must_not_swallow_lines(case, invalid, tmp_path, build):
    places, message = QUOTES[case]
    rows = [row.removesuffix("x") + places.get(index, "x") for index, row in enumerate(ROWS)]
    folder = waterbirds(tmp_path / "raw", rows)
    with pytest.raises(ValueError, match=r"raw/metadata\.csv, " + message):
        build("waterbirds", data_dir=folder, invalid=invalid)


def test_a_quote_in_the_header_must_be_closed(tmp_path, build):
    folder = waterbirds(tmp_path / "raw", ROWS)
    path = tmp_path / "raw" / "metadata.csv"
    path.write_text(path.read_text().replace(",place_filename", ',"place_filename'))
    with pytest.raises(ValueError, match=r"metadata\.csv, line 1: this is not well-formed csv"):
        build("waterbirds", data_dir=folder)


MAKE = {"waterbirds": make_waterbirds, "pascal_voc": make_voc, "coco_objects": make_coco}
# the builder, a text file it reads, and its options
TEXTS = {
    "metadata": ("waterbirds", "metadata.csv", {}),
    "boxes": ("waterbirds", "bounding_boxes.txt", {}),
    "split of voc": ("pascal_voc", "ImageSets/Main/train.txt", {}),
    "instances": ("coco_objects", "instances.json", {}),
    "split of coco": ("coco_objects", "split.json", {"split_file": "split.json"}),
}


@pytest.mark.parametrize("case", TEXTS)
@pytest.mark.parametrize("invalid", ["raise", "skip"])
def test_files_that_are_not_utf8_are_named(case, invalid, tmp_path, prepare):
    name, file, options = TEXTS[case]
    root = MAKE[name](tmp_path / "raw")
    (root / "split.json").write_text(json.dumps({"train": [0, 1], "val": [2, 3]}))
    (root / file).write_bytes((root / file).read_bytes() + "Möwe".encode("latin-1"))
    with pytest.raises(ValueError, match=rf"raw/{file}: this is not UTF-8 .*0xf6.*Save it as UTF-8\.") as error:
        prepare(name, data_dir=str(root), invalid=invalid, **options)
    assert type(error.value) is ValueError


@pytest.mark.parametrize("case", TEXTS)
def test_a_byte_order_mark_is_no_text(case, tmp_path, prepare):
    name, file, options = TEXTS[case]
    root = MAKE[name](tmp_path / "raw")
    (root / "split.json").write_text(json.dumps({"train": [0, 1], "val": [2, 3]}))
    expected = sizes(prepare(name, data_dir=str(root), **options)[0])
    (root / file).write_bytes(b"\xef\xbb\xbf" + (root / file).read_bytes())
    splits, builder = prepare(name, data_dir=str(root), **options)
    assert sizes(splits) == expected
    assert builder.report == {}

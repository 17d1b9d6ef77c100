"""XML files as other tools write them: read as they are meant, or refused by name; never as images of nothing."""

import pytest
from raw_folders import make_voc, voc_object, write_xml

OBJECT = voc_object("cat", (1, 1, 10, 10))


def labels(splits):
    names = splits["train"].features["labels"].feature.names
    return [names[label] for label in splits["train"][0]["labels"]]


def changed(root, change):
    path = root / "Annotations" / "0.xml"
    path.write_text(change(path.read_text()))
    return str(root)


@pytest.mark.parametrize(
    "change",
    [str.upper, lambda text: text.replace("object>", "Object>"), lambda text: text.replace("bndbox", "BndBox")],
)
def test_tags_in_any_case(change, tmp_path, prepare):
    root = changed(make_voc(tmp_path / "raw", 1), change)
    splits, builder = prepare("pascal_voc", data_dir=root)
    assert [name.lower() for name in labels(splits)] == ["cat", "dog"]
    assert (
        len(splits["train"][0]["objects"]["bbox" if isinstance(splits["train"][0]["objects"], dict) else slice(None)])
        == 2
    )
    assert builder.report == {}


@pytest.mark.parametrize(
    "objects",
    [f"<objects>{OBJECT}</objects>", OBJECT.replace("object>", "obj>"), f"<list><item>{OBJECT}</item></list>",
     f"{OBJECT}<objects>{OBJECT}</objects>"],
)  # fmt: skip
def test_objects_at_another_place_are_refused(objects, tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 2)
    write_xml(root / "Annotations" / "0.xml", objects)
    with pytest.raises(ValueError, match=r"0\.xml: it has a <obj.* that is no <object> right below <annotation>"):
        prepare("pascal_voc", data_dir=str(root))
    splits, builder = prepare("pascal_voc", data_dir=str(root), invalid="skip")
    assert splits["train"]["image_id"][:] == ["1"]
    assert list(builder.report) == ["object at another place"]


def test_parts_of_an_object_stay_its_own(tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 1)
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>4</ymax></bndbox></part>"
    write_xml(root / "Annotations" / "0.xml", OBJECT.replace("</object>", f"{part}</object>"))
    assert labels(prepare("pascal_voc", data_dir=str(root))[0]) == ["cat"]


@pytest.mark.parametrize("option", ["difficult", "truncated"])
@pytest.mark.parametrize(
    ("written", "kept"),
    [("1", 1), (" 1 ", 1), ("True", 1), ("true", 1), ("1.0", 1), ("0", 2), ("False", 2), ("", 2), ("Unspecified", 2),
     ("yes", None), ("2", None)],
)  # fmt: skip
def test_flags(option, written, kept, tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 1)
    flag = f"<{option}>{written}</{option}>"
    write_xml(root / "Annotations" / "0.xml", OBJECT + voc_object("dog", (5, 6, 40, 30), flag))
    if kept is None:
        with pytest.raises(ValueError, match=rf"object 1: {option} is '{written}'; allowed: 0, 1, true, false"):
            prepare("pascal_voc", data_dir=str(root), **{option: "drop"})
    splits, builder = prepare("pascal_voc", data_dir=str(root), invalid="skip", **{option: "drop"})
    assert len(labels(splits)) == (kept or 1)
    reason = {None: f"{option} is no flag", 1: f"{option} object, dropped on request"}.get(kept)
    assert list(builder.report) == ([] if reason is None else [reason])
    assert len(labels(prepare("pascal_voc", data_dir=str(root))[0])) == 2  # where no flag is asked for, none is read


@pytest.mark.parametrize(
    ("declared", "written", "name"),
    [
        ("Shift_JIS", "cp932", "髙①"), ("x-sjis", "cp932", "猫"), ("Windows-31J", "cp932", "猫"), ("gb2312", "gbk", "猫囍"),
        ("x-gbk", "gbk", "貓"), ("EUC-KR", "cp949", "똠"), ("windows-949", "cp949", "고양이"),
        ("windows-874", "cp874", "แมว"), ("x-mac-cyrillic", "mac-cyrillic", "кот"),
        ("utf-16", "utf-8", "Möwe"), ("UTF-32", "utf-8", "Möwe"), ("utf-16", "utf-16", "Möwe"), ("gbk", "utf-8-sig", "猫"),
    ],
)  # fmt: skip
def test_encodings_as_they_are_declared_and_written(declared, written, name, tmp_path, build):
    root = make_voc(tmp_path / "raw", 1)
    head = f'<?xml version="1.0" encoding="{declared}"?>'
    text = f"{head}<annotation>{voc_object(name)}</annotation>"
    (root / "Annotations" / "0.xml").write_bytes(text.encode(written))
    assert build("pascal_voc", data_dir=str(root)).info.features["labels"].feature.names == [name]

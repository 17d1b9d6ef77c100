"""What counts as a bad record: raised with what it holds, or skipped and counted by kind; no mistake is skipped."""

import datasets
import numpy as np
import pytest
import torch

from hf_guidance.data.builder_base import AnnotatedImageBuilder, InvalidAnnotation, id_text, shards


def number(record):
    if record["number"] == 13:
        raise InvalidAnnotation("unlucky", "thirteen", "13 is unlucky.")
    if record["number"] == 99:
        raise record["error"]
    return {"number": 6 // record["number"] + len(record["text"].strip())}


class Numbers(AnnotatedImageBuilder):
    VERSION = datasets.Version("1.0.0")
    raw: tuple = ()

    def _info(self):
        return datasets.DatasetInfo(features=datasets.Features({"number": datasets.Value("int64")}))

    def _split_generators(self, dl_manager):
        return [datasets.SplitGenerator(name="train", gen_kwargs={"records": shards(list(enumerate(self.raw)))})]

    def _generate_examples(self, records):
        for index, record in (entry for shard in records for entry in shard):
            row = self.read(f"file.json, record {index}", number, record)
            if row is not None:
                yield index, row


GOOD = {"number": 3, "text": "ab"}
BAD = {
    "no field": ({"number": 1}, "malformed record (KeyError)", r"it has no 'text'\); it is {'number': 1}"),
    "list for dict": ([1, 2], "malformed record (TypeError)", r"TypeError: .*\); it is \[1, 2\]"),
    "null": (None, "malformed record (TypeError)", "it is None"),
    "number for text": ({"number": 1, "text": 5}, "malformed record (AttributeError)", r"'int' object .*'text': 5"),
    "zero": ({"number": 0, "text": ""}, "malformed record (ZeroDivisionError)", "it is {'number': 0"),
    "value": ({"number": 99, "error": ValueError("odd")}, "malformed record (ValueError)", "ValueError: odd"),
    "named": ({"number": 13}, "unlucky", "thirteen: 13 is unlucky"),
}


def make(raw, tmp_path, **options):
    datasets.disable_progress_bars()
    builder = Numbers(cache_dir=str(tmp_path), **options)
    builder.raw = raw
    return builder


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("streaming", [True, False])
def test_bad_records_are_raised_with_what_they_hold_or_counted(case, streaming, tmp_path, caplog):
    record, reason, message = BAD[case]
    raw = [GOOD, record, GOOD]
    builder = make(raw, tmp_path / "raise")
    with pytest.raises(ValueError, match=message) as error:
        list(builder.as_streaming_dataset("train")) if streaming else builder.download_and_prepare()
    assert "invalid='skip'" in str(error.value)
    assert error.value.reason == reason
    builder = make(raw, tmp_path / "skip", invalid="skip")
    if streaming:
        rows = list(builder.as_streaming_dataset("train"))
    else:
        builder.download_and_prepare()
        rows = list(builder.as_dataset("train"))
    assert rows == [{"number": 4}, {"number": 4}]
    item = "thirteen" if case == "named" else "file.json, record 1"
    assert builder.report == {reason: {"count": 1, "examples": [item]}}
    if case != "named":  # a mistake in a builder must be seen: the log says where the error came up
        assert [entry.exc_info[1].__traceback__.tb_next.tb_frame.f_code.co_name for entry in caplog.records
                if entry.exc_info] == ["number"]  # fmt: skip


@pytest.mark.parametrize("mistake", [NameError, AssertionError, RuntimeError, OSError, MemoryError, ImportError])
@pytest.mark.parametrize("invalid", ["raise", "skip"])
def test_mistakes_and_faults_of_the_machine_are_no_bad_records(mistake, invalid, tmp_path):
    builder = make([GOOD, {"number": 99, "error": mistake("broken")}], tmp_path, invalid=invalid)
    with pytest.raises(mistake, match="broken"):
        list(builder.as_streaming_dataset("train"))


def test_a_build_of_nothing_but_bad_records_fails(tmp_path):
    with pytest.raises(ValueError, match=r"no row left in train.*3 x malformed record \(KeyError\)"):
        make([{}, {}, {}], tmp_path, invalid="skip").download_and_prepare()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (3.0, "3"),
        ("3", "3"),
        (" 03 ", "03"),
        ("a b", "a b"),
        (0, "0"),
        (np.int64(3), "3"),
        (np.str_("3"), "3"),
        (torch.tensor(3), "3"),
    ],
)
def test_ids_as_text_or_number_are_the_same(value, text):
    assert id_text(value) == text


@pytest.mark.parametrize("value", [None, True, "", " ", 0.5, float("nan"), float("inf"), [3], {}])
def test_what_is_no_id_is_quoted(value):
    with pytest.raises(ValueError, match="is neither text nor a whole number"):
        id_text(value)

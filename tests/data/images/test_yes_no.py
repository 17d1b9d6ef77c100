"""Answers: files that are read or refused, counts, samples, and the columns that they become."""

from __future__ import annotations

import json

import numpy as np
import pytest
from answered import SHARD, WORDS, numbers, saved, train_rows

from hf_guidance.data import (
    AnswerCounts,
    Answers,
    answer_counts,
    read_answers,
    sampled_answers,
    with_answers,
    write_answers,
)


@pytest.fixture
def rows():
    return train_rows()


@pytest.fixture
def maps(tmp_path, rows):
    return saved(tmp_path, rows)


def file_of(folder, content):
    path = folder / "answers.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_both_forms_are_read(tmp_path):
    answers = read_answers(file_of(tmp_path, WORDS))
    assert (answers, answers.maps) == (WORDS, None)
    answers = read_answers(file_of(tmp_path, {"maps": "abc", "answers": WORDS}))
    assert (answers, answers.maps) == (WORDS, "abc")
    assert read_answers(file_of(tmp_path, [])) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (json.dumps(WORDS)[:-9], "not well-formed JSON"),
        ("", "not well-formed JSON"),
        (["yes", "Yes"], "answer 1 is 'Yes'; allowed: \\['yes', 'no', 'maybe'\\]"),
        (["yes", 1], "answer 1 is 1"),
        (["no", ["yes"]], "answer 1 is \\['yes'\\]"),
        ({"a": "yes"}, "an object with \\['a'\\]"),
        ({"maps": 3, "answers": []}, "an object"),
        ({"maps": "a", "answers": "yes"}, "an object"),
        ("\"yes\"", "holds a str"),
    ],
)  # fmt: skip
def test_bad_files_are_refused_by_name(tmp_path, content, message):
    with pytest.raises(ValueError, match=message) as found:
        read_answers(file_of(tmp_path, content))
    assert "answers.json" in str(found.value)


@pytest.mark.parametrize("maps", [None, "abc"])
def test_what_is_written_is_read(tmp_path, maps):
    write_answers(tmp_path / "answers.json", Answers(WORDS, maps))
    found = read_answers(tmp_path / "answers.json")
    assert (found, found.maps) == (WORDS, maps)
    with pytest.raises(ValueError, match="answer 1 is 'ja'"):
        write_answers(tmp_path / "other.json", ["yes", "ja"])
    assert [path.name for path in tmp_path.iterdir()] == ["answers.json"]


def test_counts():
    counts = answer_counts(WORDS)
    assert counts == AnswerCounts(yes=4, no=3, maybe=2, unanswered=1)
    assert (counts.relevant, counts.irrelevant) == (4, 3)
    assert str(counts) == "4 yes, 3 no, 2 maybe, 1 unanswered"
    assert "no 'no'" in str(answer_counts(["yes"]))
    with pytest.raises(ValueError, match="answer 1 is 'unsure'"):
        answer_counts(["yes", "unsure"])


def test_samples_count_images_shown():
    words = [*(["yes"] * 60), *(["no"] * 20), *(["maybe"] * 20), *([None] * 30)]
    found = sampled_answers(Answers(words, "abc"), 50, seed=0)
    counts = answer_counts(found)
    assert counts.yes + counts.no + counts.maybe == 50
    assert counts.maybe > 0  # the paper's n counts images, not usable answers
    assert found.maps == "abc"
    assert all(new in (None, old) for new, old in zip(found, words, strict=True))
    assert found == sampled_answers(words, 50, seed=0) != sampled_answers(words, 50, seed=1)
    hidden = set(np.random.RandomState(0).choice(100, 50, replace=False))  # the generator of the released code
    assert [place for place in range(100) if found[place] is None] == sorted(hidden)
    assert sampled_answers(words, 100, seed=0) == words
    assert set(sampled_answers(words, 0, seed=0)) == {None}


@pytest.mark.parametrize(("n", "seed"), [(10, 0), (-1, 0), (1.5, 0), (True, 0), (2, -1), (2, "0")])
def test_bad_samples_are_refused(n, seed):
    with pytest.raises(ValueError, match=r"whole number from 0 to"):
        sampled_answers(WORDS, n, seed)


def test_columns_are_added_without_a_copy(maps, rows, tmp_path):
    found = with_answers(rows, maps, WORDS)
    assert found.column_names == [*rows.column_names, "saved_map", "answer"]
    assert found["answer"][:] == WORDS
    assert np.array_equal(np.asarray(found.with_format("numpy")["saved_map"][:]), numbers())
    assert {file["filename"] for file in found.cache_files} == {str(file) for file in tmp_path.glob("*.arrow")}
    again = with_answers(found, maps, ["no"] * 10)
    assert again["answer"][:] == ["no"] * 10
    assert again.column_names == found.column_names


@pytest.mark.parametrize("chosen", [[7, 2, 5], [3, 4, 5], range(SHARD), [9]], ids=str)
def test_rows_that_were_moved_keep_their_map_and_answer(maps, rows, chosen):
    found = with_answers(rows.select(chosen), maps, WORDS)
    assert found["answer"][:] == [WORDS[place] for place in chosen]
    assert found["image_id"][:] == [f"i{place}" for place in chosen]
    assert np.array_equal(np.asarray(found.with_format("numpy")["saved_map"][:]), numbers()[list(chosen)])


def test_other_sequences_read_their_maps_one_by_one(tmp_path):
    given = [{"pixel_values": np.full((3, 4, 4), place, np.float32), "label": place % 2} for place in range(10)]
    maps = saved(tmp_path, given)
    found = with_answers(given[::-1], maps, WORDS)
    assert len(found) == 10
    assert [row["answer"] for row in found] == WORDS[::-1]
    assert np.array_equal(found[0]["saved_map"], numbers()[9])
    assert [row["label"] for row in found[2:4]] == [1, 0]
    assert found[-1]["answer"] == "yes"
    assert np.array_equal(found[-1]["saved_map"], numbers()[0])


def test_a_transform_and_a_format_stay(maps, rows):
    transformed = with_answers(rows.with_transform(lambda batch: {**batch, "seen": batch["labels"]}), maps, WORDS)
    assert transformed[1]["answer"] == "no"
    assert transformed[1]["seen"] == [1]
    chosen = with_answers(rows.with_format("numpy", columns=["labels"]), maps, WORDS)
    assert sorted(chosen[0]) == ["answer", "labels", "saved_map"]
    assert chosen[2]["saved_map"].dtype == np.float32


def test_rows_without_a_map_are_refused_or_unanswered(tmp_path, rows, caplog):
    maps = saved(tmp_path, rows.select(range(6)))
    words = ["yes", "no", "yes", "no", "yes", "maybe"]
    with pytest.raises(ValueError, match="4 of 10 rows of the data set have no map"):
        with_answers(rows, maps, words)
    found = with_answers(rows, maps, words, allow_missing=True)
    assert found["answer"][:] == [*words, None, None, None, None]
    assert not np.asarray(found.with_format("numpy")["saved_map"][6:]).any()
    assert "10 rows, 4 without a map" in caplog.text


@pytest.mark.parametrize("count", [0, 9, 11])
def test_fewer_or_more_answers_than_maps_are_refused(maps, rows, count):
    with pytest.raises(ValueError, match=f"there are {count} answers and 10 maps"):
        with_answers(rows, maps, (WORDS * 2)[:count])


def test_answers_for_other_maps_are_refused(maps, rows, tmp_path):
    answers = read_answers(file_of(tmp_path, {"maps": maps.fingerprint, "answers": WORDS}))
    assert with_answers(rows, maps, answers)["answer"][:] == WORDS
    answers = sampled_answers(read_answers(file_of(tmp_path, {"maps": "f00", "answers": WORDS})), 3, seed=0)
    with pytest.raises(ValueError, match="were given for the maps with the fingerprint 'f00'"):
        with_answers(rows, maps, answers)


def test_no_answer_of_a_kind_is_reported(maps, rows, caplog):
    with_answers(rows, maps, ["yes"] * 10)
    assert "10 yes, 0 no, 0 maybe, 0 unanswered; no 'no'" in caplog.text
    caplog.clear()
    with_answers(rows, maps, WORDS)
    assert not caplog.records

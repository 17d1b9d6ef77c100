"""Answers on disk: none lost, none twice, no file mixed up."""

import os
import signal
import sqlite3
import threading

import pytest
from kills import fork_and_wait

from hf_guidance.apps.annotation.store import AnswerStore


@pytest.fixture
def file(tmp_path):
    return tmp_path / "answers.sqlite"


def test_an_answer_is_kept_once_and_a_change_replaces_it(file):
    with AnswerStore(file, "f", 5) as store:
        assert store.put(2, "anna", "yes")
        assert not store.put(2, "anna", "yes")
        assert store.put(2, "anna", "no")
        assert store.put(2, "ben", "yes")
        assert store.answers_of("anna") == {2: "no"}
        assert store.log() == [(2, "anna", None, "yes"), (2, "anna", "yes", "no"), (2, "ben", None, "yes")]
    with AnswerStore(file, "f", 5) as store:
        assert store.columns() == {"anna": [None, None, "no", None, None], "ben": [None, None, "yes", None, None]}
        assert store.annotators() == ["anna", "ben"]


def test_boxes_belong_to_the_answer(file):
    with AnswerStore(file, "f", 5) as store:
        store.put(0, "anna", "no", [[1, 2, 3, 4]])
        assert store.boxes_of("anna") == {0: [[1.0, 2.0, 3.0, 4.0]]}
        assert store.put(0, "anna", "no"), "boxes taken away are a change"
        assert store.boxes_of("anna") == {}


def test_every_commit_waits_for_the_disk(file):
    with AnswerStore(file, "f", 5) as store:
        assert store._base.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert store._base.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_what_was_said_to_be_kept_outlives_kill_9(file, tmp_path):
    """The copy of this process writes down every answer that ``put`` returned for, and is killed at some moment."""
    for attempt in range(3):
        said = tmp_path / f"said-{attempt}"

        def work(said=said, attempt=attempt):
            with AnswerStore(file, "f", 100_000) as store, said.open("a") as written:
                for item in range(100_000):
                    store.put(item, f"anna-{attempt}", "yes" if item % 2 else "no")
                    written.write(f"{item}\n")
                    written.flush()

        assert fork_and_wait(work, 0.7) == signal.SIGKILL
        acknowledged = said.read_text().split("\n")[:-1]
        with AnswerStore(file, "f", 100_000) as store:
            found = store.answers_of(f"anna-{attempt}")
            assert len(acknowledged) > 10
            assert len(found) in (len(acknowledged), len(acknowledged) + 1)
            assert {int(item) for item in acknowledged} <= found.keys()
            assert sum(name == f"anna-{attempt}" for _, name, _, _ in store.log()) == len(found)


def test_one_page_writes_and_others_read(file):
    with AnswerStore(file, "f", 5) as store:
        store.put(1, "anna", "yes")
        with pytest.raises(ValueError, match="another page is open on"):
            AnswerStore(file, "f", 5)
        with AnswerStore(file, "f", 5, read_only=True) as beside:
            store.put(2, "anna", "no")
            assert beside.answers_of("anna") == {1: "yes", 2: "no"}
            with pytest.raises(sqlite3.OperationalError):
                beside.put(3, "anna", "no")
    AnswerStore(file, "f", 5).close()


def test_several_threads_answer_at_once(file):
    with AnswerStore(file, "f", 200) as store:
        people = [
            threading.Thread(target=lambda name=name: [store.put(item, name, "yes") for item in range(50)])
            for name in "abcd"
        ]
        for person in people:
            person.start()
        for person in people:
            person.join()
        assert [len(store.answers_of(name)) for name in "abcd"] == [50] * 4
        assert len(store.log()) == 200


def test_answers_about_other_items_are_refused(file):
    AnswerStore(file, "f", 5).close()
    with pytest.raises(ValueError, match=r"about other items \(5 of them, fingerprint f; given are 5, g\)"):
        AnswerStore(file, "g", 5)
    with pytest.raises(ValueError, match="given are 6"):
        AnswerStore(file, "f", 6)
    AnswerStore(file, "f", 5).close()


@pytest.mark.parametrize("damage", ["cut", "text"])
def test_a_damaged_file_is_refused_and_left_as_it_is(file, damage):
    with AnswerStore(file, "f", 3000) as store:
        store.put_all([(item, "yes") for item in range(3000)], "anna")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"no database at all" * 100)
    before = file.read_bytes()
    with pytest.raises(ValueError, match="cannot be read as a file of answers"):
        AnswerStore(file, "f", 3000)
    assert file.read_bytes() == before


def test_a_file_that_is_not_there_is_not_made_by_reading(file):
    with pytest.raises(ValueError, match="is not there: no answers yet"):
        AnswerStore(file, "f", 5, read_only=True)
    assert not os.listdir(file.parent)


@pytest.mark.parametrize(
    ("item", "word", "message"), [(5, "yes", "none of the 5"), (-1, "yes", "none of"), (0, "ja", "'ja'")]
)
def test_what_is_no_answer(file, item, word, message):
    with AnswerStore(file, "f", 5) as store:
        with pytest.raises(ValueError, match=message):
            store.put_all([(1, "yes"), (item, word)], "anna")
        assert store.columns() == {}


def test_a_file_of_before_comparisons_is_brought_up(file):
    with AnswerStore(file, "f", 5) as store:
        store.put(2, "anna", "yes", [[1, 2, 3, 4]])
    base = sqlite3.connect(file)
    for table in ("answers", "log"):
        base.execute(f"ALTER TABLE {table} DROP COLUMN swapped")
    base.execute("UPDATE about SET value = '1' WHERE key = 'form'")
    base.commit()
    base.close()
    with AnswerStore(file, "f", 5, read_only=True) as store:
        assert (store.columns()["anna"][2], store.swapped_of("anna")) == ("yes", {})
    with AnswerStore(file, "f", 5) as store:
        assert not store.put(2, "anna", "yes", [[1, 2, 3, 4]])
        assert store.put(2, "anna", "no", swapped=True)
        assert store.swapped_of("anna") == {2: True}
    with AnswerStore(file, "f", 5) as store:
        assert store.log() == [(2, "anna", None, "yes"), (2, "anna", "yes", "no")]

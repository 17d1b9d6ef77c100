"""What becomes of answers: a table, the paper's file; and back."""

import json

import datasets
import pytest

from hf_guidance.apps.annotation import AnswerStore, answer_table, export_answers, import_answers
from hf_guidance.data import read_answers
from hf_guidance.data.images.votes import AgreementRule

IDS = ["a", "b", "c", "d"]


@pytest.fixture
def store(tmp_path):
    with AnswerStore(tmp_path / "answers.sqlite", "f", 4) as opened:
        opened.put_all([(0, "yes"), (1, "yes"), (2, "no")], "anna")
        opened.put_all([(0, "yes"), (1, "no")], "ben")
        opened.put(2, "ben", "no", [[1, 2, 3.5, 4]])
        yield opened


def test_the_table(store):
    table = answer_table(IDS, store)
    assert table.column_names == ["image_id", "answer", "answer_of_anna", "answer_of_ben", "boxes_of_ben"]
    assert table["answer"][:] == ["yes", "maybe", "no", None]
    assert table["answer_of_ben"][:] == ["yes", "no", "no", None]
    assert table["boxes_of_ben"][:] == [[], [], [[1, 2, 3.5, 4]], []]
    assert answer_table(IDS, store, AgreementRule(above=0.4, least=0.3))["answer"][:] == ["yes", "yes", "no", None]


def test_the_folder(store, tmp_path):
    folder = export_answers(IDS, store, tmp_path / "out")
    assert json.loads((folder / "answers.json").read_text()) == ["yes", "maybe", "no", None]
    read = datasets.load_dataset("parquet", data_files=str(folder / "answers.parquet"), cache_dir=str(tmp_path / "c"))
    assert read["train"]["image_id"][:] == IDS
    assert read["train"]["answer"][:] == ["yes", "maybe", "no", None]
    assert not (folder / "answers-of-maps.json").exists()
    with pytest.raises(ValueError, match="not empty"):
        export_answers(IDS, store, tmp_path / "out")


def test_answers_that_know_their_maps(store, tmp_path):
    folder = export_answers(IDS, store, tmp_path / "out", maps="abc")
    read = read_answers(folder / "answers-of-maps.json")
    assert (read, read.maps) == (["yes", "maybe", "no", None], "abc")


def test_nobody_answered(tmp_path):
    with AnswerStore(tmp_path / "answers.sqlite", "f", 4) as empty:
        assert answer_table(IDS, empty)["answer"][:] == [None] * 4


def test_the_papers_file_comes_in(store, tmp_path):
    folder = export_answers(IDS, store, tmp_path / "out")
    assert import_answers(folder / "answers.json", store, 4, "paper") == 3
    assert import_answers(folder / "answers.json", store, 4, "paper") == 0
    assert store.columns()["paper"] == ["yes", "maybe", "no", None]


def test_a_wrong_file_leaves_nothing(store, tmp_path):
    (tmp_path / "wrong.json").write_text('["yes", "no", "maybe", "ja"]')
    with pytest.raises(ValueError, match="answer 3 is 'ja'"):
        import_answers(tmp_path / "wrong.json", store, 4, "paper")
    assert "paper" not in store.columns()

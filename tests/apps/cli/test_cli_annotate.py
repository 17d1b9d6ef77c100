"""``hf-guidance annotate`` where it ends by itself: exports, imports, Spaces, refusals. The page has tests of its own."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from hf_guidance.apps.annotation import AnnotationFolder, AnswerStore, write_annotation_folder

pytest.importorskip("gradio", reason="the page needs the extra annotate")


@pytest.fixture
def asked(tmp_path):
    rows = [{"image": Image.new("RGB", (8, 8), (row, 0, 0)), "image_id": f"image-{row}"} for row in range(4)]
    return write_annotation_folder(rows, np.ones((4, 2, 2)), tmp_path / "asked")


def test_answers_in_and_out(cli, asked, tmp_path):
    for name, words in (("anna", ["yes", "yes", "no", None]), ("ben", ["yes", "no", "no", None])):
        (tmp_path / f"{name}.json").write_text(json.dumps(words))
        done = cli("annotate", asked, "--import", tmp_path / f"{name}.json", "--imported-as", name)
        assert (done.code, done.out.splitlines()[0]) == (0, "answers taken in: 3")
    done = cli("annotate", asked, "--export", tmp_path / "out", "--json")
    found = json.loads(done.out)
    assert [found[word] for word in ("yes", "no", "maybe", "unanswered")] == [1, 1, 1, 1]
    assert found["kappa of anna and ben"] == pytest.approx(0.4)
    assert json.loads((tmp_path / "out" / "answers.json").read_text()) == ["yes", "maybe", "no", None]


def test_it_is_exported_while_the_page_is_open(cli, asked, tmp_path):
    items = AnnotationFolder(asked)
    with AnswerStore(asked / "answers.sqlite", items.fingerprint, 4) as store:
        store.put(0, "anna", "yes")
        assert cli("annotate", asked, "--export", tmp_path / "out").code == 0
        done = cli("annotate", asked)
        assert done.code == 1
        assert "another page is open on" in done.err


def test_a_space(cli, asked, tmp_path):
    done = cli("annotate", asked, "--space", tmp_path / "space", "--question", 'Is "it" right?', "--boxes")
    assert (done.code, done.out) == (0, f"folder: {tmp_path / 'space'}\n")
    text = (tmp_path / "space" / "app.py").read_text()
    compile(text, "app.py", "exec")
    assert "question='Is \"it\" right?'," in text
    assert "boxes=True," in text
    assert (tmp_path / "space" / "requirements.txt").read_text() == "hf-guidance[annotate]\n"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--export", "a", "--space", "b"], 2, "--export and --space are commands of their own"),
        (["--port", "0"], 2, "--port"),
        (["--export", "out"], 1, "is not there: no answers yet"),
        (["--import", "missing.json"], 1, "missing.json"),
        (["--annotators", "anna,Anna"], 1, "has a name twice"),
    ],
)
def test_what_is_refused(cli, asked, tmp_path, monkeypatch, words, code, message):
    monkeypatch.chdir(tmp_path)
    done = cli("annotate", asked, *words)
    assert done.code == code
    assert message in done.err


def test_a_folder_that_is_none(cli, tmp_path):
    done = cli("annotate", tmp_path)
    assert (done.code, len(done.err.strip().splitlines())) == (1, 1)
    assert "has no items.json" in done.err


def test_without_the_extra(cli, asked, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "hf_guidance.apps.annotation.page", raising=False)
    done = cli("annotate", asked)
    assert done.code == 1
    assert "pip install 'hf-guidance[annotate]'" in done.err

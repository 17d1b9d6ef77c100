"""``hf-guidance trust-study`` where it ends by itself. The page has tests of its own."""

import json

import numpy as np
import pytest
from PIL import Image

from hf_guidance.apps.annotation import AnswerStore
from hf_guidance.apps.trust_study import ComparisonFolder, write_comparison_folder

pytest.importorskip("gradio", reason="the page needs the extra annotate")


@pytest.fixture
def trust(tmp_path):
    rows = [{"image": Image.new("RGB", (8, 8), (row, 0, 0))} for row in range(4)]
    maps = {name: np.ones((4, 2, 2), np.float32) for name in ("before", "after")}
    return write_comparison_folder(rows, maps, tmp_path / "trust")


def rated(trust):
    items = ComparisonFolder(trust)
    with AnswerStore(trust / "answers.sqlite", items.fingerprint, len(items), items.scale) as store:
        for name in ("anna", "ben"):
            for place, points in enumerate(("2", "1", "0", "-1")):
                store.put(place, name, points)


def test_which_model_is_preferred(cli, trust, tmp_path):
    rated(trust)
    done = cli("trust-study", trust, "--export", tmp_path / "out")
    assert done.code == 0, done.err
    assert "8 ratings of 4 comparisons by 2 raters" in done.out
    assert "prefer after: 50.0 % (" in done.out
    assert "prefer before: 25.0 % (" in done.out
    assert "Krippendorff's alpha (ordinal): 1.000" in done.out
    done = cli("trust-study", trust, "--export", tmp_path / "again", "--json")
    found = json.loads(done.out)
    assert (found["prefer_second"]["mean"], found["krippendorff_alpha"]) == (0.5, 1.0)
    assert json.loads((tmp_path / "again" / "preference.json").read_text())["rating"]["mean"] == 0.5


def test_a_space_opens_the_same_page(cli, trust, tmp_path):
    done = cli("trust-study", trust, "--space", tmp_path / "space")
    assert (done.code, done.out) == (0, f"folder: {tmp_path / 'space'}\n")
    text = (tmp_path / "space" / "app.py").read_text()
    compile(text, "app.py", "exec")
    assert "kind=ComparisonFolder," in text
    names = {}
    exec(text.split("HERE =")[0], names)  # its imports
    assert names["ComparisonFolder"] is ComparisonFolder
    assert 'title: "Which model looks at more' in (tmp_path / "space" / "README.md").read_text()
    assert (tmp_path / "space" / "items" / "maps.npy").is_file()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--export", "a", "--space", "b"], 2, "--export and --space are commands of their own"),
        (["--export", "out"], 1, "is not there: no answers yet"),
        (["--boxes"], 2, "--boxes"),
        (["--annotators", "anna,Anna"], 1, "has a name twice"),
    ],
)
def test_what_is_refused(cli, trust, words, code, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    done = cli("trust-study", trust, *words)
    assert (done.code, message in " ".join(done.err.split())) == (code, True), done.err


def test_a_folder_of_one_model_is_refused(cli, tmp_path):
    from hf_guidance.apps.annotation import write_annotation_folder

    rows = [{"image": Image.new("RGB", (8, 8))}]
    done = cli("trust-study", write_annotation_folder(rows, np.ones((1, 2, 2)), tmp_path / "asked"))
    assert done.code == 1
    assert "it must be floating-point numbers of shape (1, 2, parts, h, w)" in " ".join(done.err.split())

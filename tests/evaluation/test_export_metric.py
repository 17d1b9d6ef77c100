"""A metric of a user's own in its published form."""

from __future__ import annotations

from pathlib import Path

import evaluate
import pytest
from huggingface_hub import SpaceCard

from hf_guidance import metric_path
from hf_guidance.evaluation import export_metric

SCRIPT = '''
"""A metric."""
import datasets
import evaluate
import numpy as np
from sklearn.metrics import accuracy_score

_DESCRIPTION = """
Share that is equal: 'a' | "b".
More of it.
"""


class Mine(evaluate.Metric):
    def _info(self):
        number = datasets.Value("float64")
        return evaluate.MetricInfo(
            description=_DESCRIPTION, citation="@misc{me, title={Mine}}", inputs_description="Args: ``` two lists",
            features=datasets.Features({"predictions": number, "references": number}), reference_urls=["https://me.org"],
        )

    def _compute(self, predictions, references):
        return {"mine": float(np.mean(np.equal(predictions, references)))}
'''


@pytest.fixture
def script(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "mine.py").write_text(SCRIPT)
    return folder / "mine.py"


def test_the_space_is_whole(script, tmp_path):
    space = export_metric(script, tmp_path / "space", owner="me")
    assert sorted(file.name for file in space.iterdir()) == ["README.md", "app.py", "mine.py", "requirements.txt"]
    card = SpaceCard.load(space / "README.md")
    own = SpaceCard.load(f"{metric_path('epg')}/README.md")
    assert (card.data.sdk, card.data.sdk_version, card.data.app_file) == ("gradio", own.data.sdk_version, "app.py")
    assert card.data.tags == ["evaluate", "metric"]
    assert card.data.get("description") == "Share that is equal: 'a' | \"b\". More of it."
    assert 'evaluate.load("me/mine")' in card.text
    assert "| `predictions` | `Value('float64')` |" in card.text
    assert "@misc{me, title={Mine}}" in card.text
    assert "- https://me.org\n" in card.text
    assert card.text.count("```") == 6
    assert (space / "app.py").read_text() == Path(metric_path("epg"), "app.py").read_text()
    assert (space / "requirements.txt").read_text().split() == ["datasets", "evaluate", "numpy", "scikit-learn"]
    assert evaluate.load(str(space / "mine.py")).compute(predictions=[1.0, 2.0], references=[1.0, 3.0]) == {"mine": 0.5}


def test_a_card_beside_the_script_is_taken(script, tmp_path):
    (script.parent / "README.md").write_text("---\ntitle: Mine\n---\n# own\n")
    space = export_metric(script.parent, tmp_path / "space")
    assert (space / "README.md").read_text() == "---\ntitle: Mine\n---\n# own\n"
    export_metric(metric_path("epg"), tmp_path / "epg")
    assert "3" in SpaceCard.load(tmp_path / "epg" / "README.md").data.sdk_version


def test_what_cannot_be_exported_is_refused(script, tmp_path):
    with pytest.raises(ValueError, match=r"is no evaluate module; give <name>\.py"):
        export_metric(tmp_path / "nothing.py", tmp_path / "space")
    (tmp_path / "space").mkdir()
    (tmp_path / "space" / "mine").touch()
    with pytest.raises(ValueError, match="is not empty; pass overwrite=True"):
        export_metric(script, tmp_path / "space")
    assert (export_metric(script, tmp_path / "space", overwrite=True) / "app.py").is_file()
    script.write_text("x = (")
    with pytest.raises(SyntaxError):
        export_metric(script, tmp_path / "broken")
    assert not (tmp_path / "broken").exists()

"""Metrics import nothing of one another, so their input checks are copies; copies stay equal."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

SCRIPTS = sorted(path for path in (Path(__file__).parents[2] / "metrics").glob("*/*.py") if path.name != "app.py")
OWN = {
    "_measure": None,
    "_pairs": {"plausibility"},
    "_rows": {"caption_scores", "chair", "faithfulness", "vqa_accuracy"},
}
"""What is named alike and is another thing: in every metric, or in these."""


def bodies():
    """Name of a function to its text in every metric that has it, layout and comments apart."""
    found = defaultdict(dict)
    for path in SCRIPTS:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                found[node.name][path.parent.name] = ast.unparse(node)
    return {name: texts for name, texts in found.items() if len(texts) > 1 and OWN.get(name, {}) is not None}


@pytest.mark.parametrize("name", bodies())
def test_copies_are_equal(name):
    texts = {metric: text for metric, text in bodies()[name].items() if metric not in OWN.get(name, ())}
    assert len(set(texts.values())) <= 1, f"{name} differs among {sorted(texts)}"


def test_there_are_copies_to_compare():
    assert {"_numpy", "_plane"} <= bodies().keys()

"""The docstring of every objective and attribution says which columns it reads, when to use it and where it comes from.

New ones are covered on arrival. The columns are compared with those that a run on a tiny model reads.
"""

import inspect
import re

import pytest
import torch
from tiny import SMOOTH_FAMILY, explain, make_batch, smooth_net
from toy_vqa import TOY_FAMILY, ToyVQA, region_batch

from hf_guidance import attributions, objectives
from hf_guidance.attributions import Attribution
from hf_guidance.data.columns import ANSWER, GROUP, REASONING, ROLE, SAVED_MAP, SUB_QUESTION
from hf_guidance.objectives import AttributionObjective, Objective, SavedMapObjective

BASES = (Attribution, Objective, AttributionObjective, SavedMapObjective)
NAMED = [getattr(module, name) for module in (objectives, attributions) for name in module.__all__]
EVERY = [cls for cls in NAMED if issubclass(cls, Attribution | Objective) and cls not in BASES]
HEADINGS = ["Columns", "When to use", "Reference"]
LAYOUT = {"row": [0, 1], "slot": [0, 0], "annotated": [True, True]}
SETTINGS = {
    "pixels": (smooth_net(), SMOOTH_FAMILY, make_batch(images=2, size=(4, 5), channels=2)),
    "boxes": (ToyVQA(), TOY_FAMILY, region_batch(images=2)),
}
ANSWERED = {
    ANSWER: [1, 0], SAVED_MAP: torch.rand(2, 3, 4), ROLE: [REASONING, SUB_QUESTION], GROUP: [0, 0],
}  # fmt: skip
# Attention and ComparisonSCR are for boxes only; the toy models have no layers "final" and "fusion", which others read by
# default.
CANNOT = [
    *(("pixels", name) for name in ("AttentionWeights", "ComparisonSCR", "AttentionSQuINT", "ContrastiveSOrT")),
    ("pixels", "CaptionLoss"),
    ("boxes", "CaptionLoss"),  # of words: tests/forward/test_words.py
    ("pixels", "AdversarialAnswerLoss"),
    ("boxes", "ContrastiveSOrT"),
    *(("boxes", name) for name in ("GradCAM", "GRADIA", "ActDiff", "RelevantCRAYON", "IrrelevantCRAYON")),
]
RUNS = [(setting, cls) for setting in SETTINGS for cls in EVERY if (setting, cls.__name__) not in CANNOT]


class Recorded(dict):
    """A batch that notes which of its columns are read."""

    def __init__(self, columns):
        super().__init__(columns)
        self.read = set()

    def __getitem__(self, name):
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name, default=None):
        self.read.update({name} & self.keys())
        return super().get(name, default)


def sections(cls):
    """Headings of the docstring, in order, to their text."""
    parts = re.split(r"^(\S.*):$", inspect.cleandoc(cls.__doc__), flags=re.MULTILINE)
    return {heading: inspect.cleandoc(text) for heading, text in zip(parts[1::2], parts[2::2], strict=True)}


def documented(cls):
    """Columns that the docstring names, to what it says of each."""
    parts = re.split(r"^(\w+):", sections(cls)["Columns"], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def columns_read(setting, cls, without=None):
    """Run the class with its default fields: the columns it reads, beside the model's inputs and the layout."""
    model, family, columns = SETTINGS[setting]
    batch, method = Recorded(columns | ANSWERED | LAYOUT), cls()
    batch.pop(without, None)
    forward = explain(model, family, batch, method)
    if isinstance(method, Attribution):
        forward.attribution(method)
    else:
        method(forward)
        method.rows(forward)
    return batch.read - set(family.inputs) - set(LAYOUT)


def test_all_are_found():
    assert len(EVERY) >= 28
    assert len(RUNS) == 2 * len(EVERY) - len(CANNOT)


@pytest.mark.parametrize("cls", EVERY)
def test_sections_are_there_in_order(cls):
    found = sections(cls)
    assert [heading for heading in found if heading in HEADINGS] == HEADINGS
    assert all(found[heading].strip() for heading in HEADINGS)
    assert list(found)[-1] == ("Example" if "Example" in found else "Reference")


@pytest.mark.parametrize(("setting", "cls"), RUNS)
def test_columns_are_those_that_are_read(setting, cls):
    read, named = columns_read(setting, cls), documented(cls)
    assert read <= named.keys(), (
        f"{cls.__name__} reads {sorted(read - named.keys())}, which its docstring does not name"
    )
    required = {name for name, text in named.items() if "optional" not in text}
    assert required <= read, f"{cls.__name__} names {sorted(required - read)} without 'optional' and does not read them"


@pytest.mark.parametrize(("setting", "cls"), RUNS)
def test_only_optional_columns_may_be_missing(setting, cls):
    for name, text in documented(cls).items():
        if "optional" in text:
            assert name not in columns_read(setting, cls, without=name)
        else:
            with pytest.raises(ValueError, match=f"no column '{name}'"):
                columns_read(setting, cls, without=name)

"""The record of panels survives a run that is killed before it draws one more, and names what it cannot read."""

import json

import pytest

from hf_guidance.training.panels.record import RECORD, PanelRecord, file_of


def test_two_resumes_without_a_new_panel_keep_the_old_ones(tmp_path):
    shown = {"origin": "eval", "rows": [0], "attribution": "GradCAM()"}
    first = PanelRecord(tmp_path)
    first.begin(shown, 0)
    for step in (0, 4):
        (tmp_path / file_of(step)).touch()
        first.add(step, {}, 0)
    for _ in range(2):
        again = PanelRecord(tmp_path)
        assert again.begin(shown, 4) == []
        assert again.has(0)
        assert again.has(4)
    PanelRecord(tmp_path).begin(shown, 0)  # a new run
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("step", ["4", 4.5, True, None, [4]])
def test_steps_that_are_no_whole_numbers_are_named(tmp_path, step):
    (tmp_path / RECORD).write_text(json.dumps({"panels": [{"step": step, "losses": {}, "dead": 0}]}))
    with pytest.raises(ValueError, match=r"panels.json cannot be read .*no whole number.*panels begin anew"):
        PanelRecord(tmp_path).begin({"origin": "eval"}, 4)

"""Whatever JSON lies in the files of a run: a page without markup of theirs, or a ValueError that names the file."""

from __future__ import annotations

import json
import shutil

from hypothesis import given, settings
from hypothesis import strategies as st

from hf_guidance import report

NAMES = st.sampled_from(
    ["task", "energy", "type", "weight", "eval_epg", "loss/<b>", "undefined_share/a", "step", "mean", "std", "a"]
)
NUMBERS = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from([10**400, -1, 0.5, 3])
VALUES = st.recursive(
    NUMBERS | st.text(max_size=8) | st.just("<b>x"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
ENTRIES = st.lists(st.dictionaries(NAMES, NUMBERS, max_size=5), max_size=5)
FACTS = st.fixed_dictionaries(
    {},
    optional={
        "guidance": st.dictionaries(NAMES, VALUES, max_size=3), "seed": VALUES, "rows": VALUES, "annotated_share": NUMBERS,
        "control_seed": VALUES, "source": VALUES, "model": VALUES, "load_best_model_at_end": NUMBERS,
        "learning_rate": VALUES,
    },
)  # fmt: skip
FRONTS = st.fixed_dictionaries(
    {"metrics": st.lists(NAMES, max_size=3) | VALUES, "bins": NUMBERS, "members": VALUES,
     "points": st.lists(st.dictionaries(NAMES, NUMBERS, max_size=6), max_size=3) | VALUES}
)  # fmt: skip


def written(folder, name, content):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content))


@settings(max_examples=150, deadline=None)
@given(log=ENTRIES | VALUES, facts=FACTS | VALUES, best=NUMBERS, front=st.none() | FRONTS, results=st.none() | VALUES)
def test_a_page_or_a_named_error(tmp_path_factory, log, facts, best, front, results):
    folder = tmp_path_factory.mktemp("run")
    callbacks = {"RunFacts": {"attributes": {"facts": facts}}}
    state = {"log_history": log, "stateful_callbacks": callbacks, "best_global_step": best, "global_step": 3}
    written(folder, "trainer_state.json", state)
    if front is not None:
        written(folder, "pareto/pareto.json", front)
    if results is not None:
        written(folder, "results.json", results)
    found = None
    try:
        page = report(folder, folder / "report.html").read_text()
    except ValueError as error:
        found = error
    assert (folder / "report.html").exists() == (found is None)
    assert str(folder) in str(found) if found else "<b>" not in page
    shutil.rmtree(folder)

"""The front on disk: what the golden runs leave, and what a kill leaves."""

from __future__ import annotations

import json
import random
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from kills import KILLED, fork_and_wait, kill_before
from torch import nn

from hf_guidance import Guidance, ParetoCheckpoints, Term, load_front, load_representative
from hf_guidance.attributions import GradCAM
from hf_guidance.evaluation.analysis import merged, pareto_indices
from hf_guidance.objectives import Energy

NAMES = ("eval_f1", "eval_epg", "eval_attribution_iou")
GUIDANCE = Guidance(energy=Term(Energy(GradCAM()), weight=0.5))
POINTS = [
    (0.5, 0.5, 0.5),
    (0.6, 0.4, 0.5),
    (0.5, 0.5, 0.5),
    (0.6, 0.6, 0.5),
    (0.1, 0.1, 0.1),
]  # on, on, tie, both, none


class Written:
    """Stands for a model or a processor: a folder of files that say which step they are of."""

    pause = 0.0  # seconds before each file

    def __init__(self, files):
        self.files, self.step = files, 0

    def save_pretrained(self, folder):
        Path(folder).mkdir(exist_ok=True)
        for name in self.files:
            time.sleep(self.pause)
            (Path(folder) / name).write_text(f"{self.step}\n" * 1000)


class Run:
    """Calls a callback as a trainer would."""

    def __init__(self, folder, callback=None, begin=0, main=True):
        self.callback = callback or ParetoCheckpoints(guidance=GUIDANCE)
        self.args = SimpleNamespace(output_dir=str(folder), eval_strategy="epoch")
        self.state = SimpleNamespace(
            global_step=begin, epoch=0.0, is_world_process_zero=main, is_hyper_param_search=False
        )
        self.given = {"model": Written(["config.json", "model.safetensors"]), "processing_class": Written(["pre.json"])}
        self.callback.on_train_begin(self.args, self.state, None, **self.given)

    def evaluate(self, step, metrics):
        metrics = metrics if isinstance(metrics, dict) else dict(zip(NAMES, metrics, strict=True))
        if step != self.state.global_step:
            self.callback.on_step_begin(self.args, self.state, None)
        self.state.global_step, self.state.epoch = step, step / 10
        for saved in self.given.values():
            saved.step = step
        self.callback.on_evaluate(self.args, self.state, None, metrics=metrics | {"eval_loss": 1.0}, **self.given)

    def whole(self, points=POINTS):
        for index, point in enumerate(points):
            self.evaluate(10 * (index + 1), point)
        self.callback.on_train_end(self.args, self.state, None)


def steps_on_disk(folder):
    """The steps with a folder, each checked to be whole and of its step."""
    found = []
    for place in folder.glob("step-*"):
        step = place.name.removeprefix("step-")
        assert sorted(file.name for file in place.iterdir()) == [
            "config.json",
            "guidance.json",
            "model.safetensors",
            "pre.json",
        ]
        for name in ("config.json", "model.safetensors", "pre.json"):
            assert (place / name).read_text() == f"{step}\n" * 1000
        assert Guidance.load(place) == GUIDANCE
        found.append(int(step))
    return sorted(found)


def recorded(folder):
    return json.loads((folder / "pareto.json").read_text())


def test_golden_runs_leave_their_front(golden, tmp_path):
    numbers = golden("model_guidance/pareto_front")
    for case in range(int(numbers["n_cases"])):
        points = numbers[f"c{case}_points_f1_epg_iou"].tolist()
        Run(tmp_path / str(case)).whole(points)
        folder = tmp_path / str(case) / "pareto"
        expected = [10 * (index + 1) for index in numbers[f"c{case}_sequential_front_indices"].tolist()]
        assert steps_on_disk(folder) == expected == recorded(folder)["members"]
        assert [[point[name] for name in NAMES] for point in recorded(folder)["points"]] == points
        assert sorted(path.name for path in folder.iterdir()) == sorted(
            ["pareto.json", *(f"step-{n}" for n in expected)]
        )


def check_after_a_kill(folder):
    on_disk = steps_on_disk(folder) if folder.is_dir() else []
    if (folder / "pareto.json").is_file():
        record = recorded(folder)
        steps = [point["step"] for point in record["points"]]
        assert steps == [10 * (index + 1) for index in range(len(steps))]
        assert set(record["members"]) <= set(on_disk)


def check_resumed(folder, undisturbed):
    assert recorded(folder) == recorded(undisturbed)
    assert steps_on_disk(folder) == steps_on_disk(undisturbed)
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in undisturbed.iterdir())


def test_killed_before_any_file_operation(tmp_path):
    """Exhaustive: the n-th change of a file never comes, for every n; then the run is resumed."""
    Run(tmp_path / "undisturbed").whole()
    died = 0
    for operation in range(1, 500):
        out = tmp_path / str(operation)
        status = kill_before(operation, out, lambda out=out: Run(out).whole())
        check_after_a_kill(out / "pareto")
        Run(out, begin=5).whole()
        check_resumed(out / "pareto", tmp_path / "undisturbed" / "pareto")
        if status == 0:
            break
        assert status == KILLED
        died += 1
    assert died > 30


def test_killed_at_random(tmp_path, monkeypatch):
    Run(tmp_path / "undisturbed").whole()
    monkeypatch.setattr(Written, "pause", 0.02)  # so that kills fall into the run on any machine
    chance, killed = random.Random(0), 0
    for trial in range(15):
        out = tmp_path / str(trial)
        for begin in (0, 5, 5):  # killed, resumed and killed again
            killed += (
                fork_and_wait(lambda out=out, begin=begin: Run(out, begin=begin).whole(), chance.uniform(0, 0.06))
                == KILLED
            )
            check_after_a_kill(out / "pareto")
        Run(out, begin=5).whole()
        check_resumed(out / "pareto", tmp_path / "undisturbed" / "pareto")
    assert killed > 10


def test_a_step_is_evaluated_once(tmp_path):
    run = Run(tmp_path)
    run.evaluate(10, (0.5, 0.5, 0.5))
    run.evaluate(10, (0.9, 0.9, 0.9))
    again = Run(tmp_path, begin=10)
    again.evaluate(10, (0.8, 0.8, 0.8))
    again.evaluate(20, (0.4, 0.6, 0.5))
    assert [[p["step"], p["epoch"], p["eval_f1"]] for p in recorded(tmp_path / "pareto")["points"]] == [
        [10, 1.0, 0.5],
        [20, 2.0, 0.4],
    ]
    assert steps_on_disk(tmp_path / "pareto") == [10, 20]


def test_a_run_from_the_start_begins_a_new_front(tmp_path, caplog):
    Run(tmp_path).whole()
    (tmp_path / "pareto" / "notes.txt").write_text("kept")
    run = Run(tmp_path)
    assert sorted(path.name for path in (tmp_path / "pareto").iterdir()) == ["notes.txt"]
    run.evaluate(10, (0.1, 0.1, 0.1))
    assert steps_on_disk(tmp_path / "pareto") == [10]


def test_evaluations_outside_of_training_do_not_count(tmp_path):
    run = Run(tmp_path)
    run.whole(POINTS[:1])
    run.evaluate(99, (1.0, 1.0, 1.0))
    assert [point["step"] for point in recorded(tmp_path / "pareto")["points"]] == [10]


def test_only_the_main_process_writes(tmp_path):
    run = Run(tmp_path, main=False)
    run.whole()
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="the evaluation gave no"):
        Run(tmp_path, main=False).evaluate(10, {"eval_f1": 0.5})


def test_undefined_metrics_are_not_on_the_front(tmp_path):
    run = Run(tmp_path)
    run.evaluate(10, (0.9, float("nan"), None))
    assert load_front(tmp_path / "pareto").members == ()
    with pytest.raises(ValueError, match="the set of points is empty"):
        load_representative(tmp_path / "pareto", 0.5)
    run.evaluate(20, (0.5, 0.5, 0.5))
    assert recorded(tmp_path / "pareto")["points"][0]["eval_epg"] is None
    assert steps_on_disk(tmp_path / "pareto") == [20]


def test_several_evaluation_sets(tmp_path):
    run = Run(tmp_path)
    for step in (10, 20):
        run.evaluate(step, {"eval_other_f1": 0.3})
        run.evaluate(step, (0.5, step / 100, 0.5))
        run.evaluate(step, {"eval_other_f1": 0.3})
    run.callback.on_train_end(run.args, run.state, None)
    assert steps_on_disk(tmp_path / "pareto") == [20]


def test_missing_metrics_end_training(tmp_path):
    run = Run(tmp_path)
    run.evaluate(10, {"eval_accuracy": 0.5})
    message = r"gave no \['eval_attribution_iou', 'eval_epg', 'eval_f1'\], but \['eval_accuracy', 'eval_loss'\]"
    with pytest.raises(ValueError, match=message):
        run.callback.on_step_begin(run.args, run.state, None)
    with pytest.raises(ValueError, match="the evaluation gave no"):
        run.callback.on_train_end(run.args, run.state, None)
    with pytest.raises(ValueError, match=r"gave no \['eval_attribution_iou'\], but"):
        Run(tmp_path).evaluate(10, {"eval_f1": 0.5, "eval_epg": 0.5})


def test_representative_and_front(tmp_path):
    points = [(0.80, 0.4, 0.1), (0.76, 0.6, 0.1), (0.6, 0.9, 0.1), (0.6, 0.8, 0.1), (0.75, 0.59, 0.3)]
    Run(tmp_path).whole(points)
    folder = tmp_path / "pareto"
    assert load_representative(folder, 0.8) == folder / "step-20"
    assert load_representative(str(folder), 0.8, drop=0.2) == folder / "step-30"
    assert load_representative(folder, 0.8, maximise="eval_attribution_iou") == folder / "step-50"
    front = load_front(folder)
    assert [member.key for member in front.members] == [folder / f"step-{10 * (i + 1)}" for i in pareto_indices(points)]
    other = Run(tmp_path / "other")
    other.whole([(0.81, 0.41, 0.11), (0.5, 0.1, 0.1)])
    both = merged([front, load_front(tmp_path / "other" / "pareto")])
    assert [member.key.parent.parent.name for member in both.members][-1] == "other"
    assert folder / "step-10" not in [member.key for member in both.members]
    with pytest.raises(ValueError, match=r"no point has eval_f1 >= 0.99 - 0.05"):
        load_representative(folder, 0.99)
    shutil.rmtree(folder / "step-20")
    with pytest.raises(ValueError, match=r"step-20, the representative, was removed"):
        load_representative(folder, 0.8)


def test_other_metrics_and_bins_than_on_disk(tmp_path):
    Run(tmp_path, ParetoCheckpoints(("a", "b"), bins=(0.1, 2))).evaluate(10, {"a": 0.5, "b": 7.0})
    for other in (ParetoCheckpoints(("a", "b")), ParetoCheckpoints(("b", "a"), (0.1, 2)), ParetoCheckpoints()):
        with pytest.raises(ValueError, match=r"holds a front of metrics and bins \(\['a', 'b'\], \(0.1, 2.0\)\)"):
            Run(tmp_path, other, begin=10)
    run = Run(tmp_path, ParetoCheckpoints(("a", "b"), bins=(0.1, 2)), begin=10)
    run.evaluate(20, {"a": 0.51, "b": 7.5})  # the same after rounding
    assert recorded(tmp_path / "pareto")["members"] == [10]
    assert load_front(tmp_path / "pareto").bins == (0.1, 2.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda folder: ParetoCheckpoints(()), r"metrics=\(\); give a tuple of different names"),
        (lambda folder: ParetoCheckpoints("eval_f1"), "metrics='eval_f1'"),
        (lambda folder: ParetoCheckpoints(("a", "a")), "different names"),
        (
            lambda folder: ParetoCheckpoints(("eval_f1", "eval_loss/energy")),
            r"'eval_loss/energy'\] are better when lower",
        ),
        (lambda folder: ParetoCheckpoints(bins=0), "bins=0; give one positive number"),
        (lambda folder: ParetoCheckpoints(bins=(0.1, 0.1)), "2 bins for 3 metrics"),
        (
            lambda folder: ParetoCheckpoints(guidance="energy"),
            "guidance='energy' is a str; give the trainer's Guidance",
        ),
        (lambda folder: load_front(folder), "pareto.json does not exist; give the folder that ParetoCheckpoints wrote"),
        (lambda folder: load_representative(folder, 0.8), "pareto.json does not exist"),
    ],
)
def test_bad_input(tmp_path, call, message):
    with pytest.raises(ValueError, match=message):
        call(tmp_path)


def test_damaged_records_and_models_that_cannot_be_saved(tmp_path):
    Run(tmp_path).whole()
    for text, message in (
        ("{", "is not what ParetoCheckpoints wrote"),
        ("1", "is not what ParetoCheckpoints wrote"),
        ('{"points": []}', r"lacks \['bins', 'members'"),
        ('{"metrics": ["a"], "bins": 1, "points": [{"step": 1}], "members": []}', r"lacks \['a'\]"),
    ):
        (tmp_path / "pareto" / "pareto.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            Run(tmp_path, begin=10)
    assert steps_on_disk(tmp_path / "pareto")  # nothing was deleted
    with pytest.raises(ValueError, match=r"Linear has no save_pretrained.*TimmWrapper"):
        ParetoCheckpoints().on_train_begin(SimpleNamespace(), SimpleNamespace(), None, model=nn.Linear(1, 1))

"""The page: what it shows, that it says what is missing, and that nothing of a file becomes markup."""

from __future__ import annotations

import json
import re

import pytest
from run_folders import ENERGY, TASK, facts_of, log_of, write_arms, write_front, write_panels, write_run
from shown_page import Page

from hf_guidance import report
from hf_guidance.apps.report import Run
from hf_guidance.apps.report.arms import arms_of


@pytest.fixture
def page(tmp_path):
    write_arms(tmp_path / "runs")
    for name in ("unguided-0", "guided-0"):
        write_panels(tmp_path / "runs" / name)
    write_front(tmp_path / "runs" / "guided-1")
    return Page(report(tmp_path / "runs", tmp_path / "out" / "report.html"))


def test_arms_are_found_by_guidance_and_controls_by_their_seed(page):
    assert "9 runs in 3 arms" in page.text("")
    text = page.text("runs")
    assert "unguidedunguided30, 1, 2—1000none" in text
    assert "energyguided30, 1, 210 %1000" in text
    assert "energy, controlcontrol30, 1, 2" in text
    assert 'Term(objective=Energy(attribution=GradCAM()), weight=2.0, reduction="rows")' in text


def test_intervals_are_students(page):
    text = page.text("metrics")
    assert "0.810 ± 0.025" in text  # 4.303 * 0.01 / sqrt(3)
    assert "+0.200 [+0.200, +0.200]" in text  # seed by seed all differ by the same
    assert "+0.410 [+0.385, +0.435]" in text
    assert "by seed, without 0" in text


def test_controls_and_cost_and_fronts(page):
    assert "energy against energy, control" in page.text("controls")
    assert "+0.100" in page.text("controls")
    assert "100 of 1000" in page.text("cost")
    assert "how the metrics change with the share is not measured" in page.text("cost")
    assert "eval_epg by eval_accuracy" in page.text("fronts")
    assert "loss/energy" in page.text("losses")
    assert "undefined_share/energy, largest: energy 0.05" in page.text("dead")
    assert "eval_epg_undefined_share, largest: unguided 0.25; energy 0.25" in page.text("dead")


def test_nothing_is_fetched_and_nothing_runs(page):
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in page.links)
    assert not {"script", "iframe", "object", "embed", "link", "form"} & {tag for tag, _ in page.tags}
    assert not any(name.startswith("on") for _, given in page.tags for name in given)
    assert "http" not in re.sub(r"http-equiv", "", page.html)
    assert len([tag for tag, _ in page.tags if tag == "img"]) == 4
    assert "Undefined" not in page.html


def test_what_is_missing_is_said_in_its_place(tmp_path):
    page = Page(report(write_run(tmp_path / "run", facts=facts_of(), history=[]), tmp_path / "report.html"))
    assert "No run holds an evaluation" in page.text("metrics")
    assert "No control was given" in page.text("controls")
    assert "No panel of energy" in page.text("maps")
    assert "No run kept a front" in page.text("fronts")
    assert "No log holds loss/<term>" in page.text("losses")
    assert "No log holds undefined_share/<term>" in page.text("dead")


def test_one_run_has_no_interval_and_the_page_says_so(tmp_path):
    page = Page(report(write_run(tmp_path / "run", facts=facts_of()), tmp_path / "report.html"))
    assert "Of one run there is no interval" in page.text("metrics")
    assert "0.800one run" in page.text("metrics")
    assert "No unguided run was given" in page.text("metrics")


def test_metrics_by_share(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path / f"runs/plain-{seed}", 0.6, 0.3, facts_of(TASK, seed))
        for share in (0.1, 0.5):
            place = tmp_path / f"runs/guided-{share}-{seed}"
            write_run(place, 0.6 + share / 2, 0.3, facts_of(ENERGY, seed, annotated_share=share))
    page = Page(report(tmp_path / "runs", tmp_path / "report.html"))
    assert "energy, 10 % annotated" in page.text("runs")
    assert "500 of 1000" in page.text("cost")
    assert "is not measured" not in page.text("cost")
    assert any(tag == "svg" and "by annotated rows" in given["aria-label"] for tag, given in page.tags)


def test_arms_that_are_named(tmp_path):
    for name in ("a", "b", "c"):
        write_run(tmp_path / name)
    given = {"before": tmp_path / "a", "after": [tmp_path / "b"], "random": [tmp_path / "c"]}
    page = Page(report(given, tmp_path / "report.html", controls=["random"], title="Mine"))
    assert "before" in page.text("runs")
    assert "Mine" in page.text("")
    assert "guidance not recorded" in page.text("runs")
    assert re.search(r"random\s*control", page.text("runs"))


def test_runs_of_unknown_guidance_are_an_arm_each_and_say_so(tmp_path):
    write_run(tmp_path / "runs/a")
    write_run(tmp_path / "runs/b")
    page = Page(report(tmp_path / "runs", tmp_path / "report.html"))
    assert "2 runs in 2 arms" in page.text("")
    assert "name the arm yourself" in page.text("runs")


def test_what_differs_within_an_arm_is_noted(tmp_path):
    write_run(tmp_path / "runs/a", facts=facts_of(seed=1))
    write_run(tmp_path / "runs/b", facts=facts_of(seed=1, learning_rate=0.1))
    text = Page(report(tmp_path / "runs", tmp_path / "report.html")).text("runs")
    assert "several runs have the seed 1" in text
    assert "its runs differ in learning_rate, too" in text


def test_a_control_given_by_its_folder(tmp_path):
    write_arms(tmp_path / "runs", seeds=(0,))
    facts = facts_of(ENERGY, 0, source="mask")
    write_run(tmp_path / "runs/moved", 0.5, 0.1, facts)
    page = Page(report(tmp_path / "runs", tmp_path / "report.html", controls=[tmp_path / "runs/moved"]))
    assert len(re.findall("against", page.text("controls"))) == 2


@pytest.mark.parametrize("wrap", [lambda given: given, lambda given: [given]], ids=["alone", "in a list"])
def test_a_control_given_by_its_folder_as_text_or_by_the_label_of_its_arm(tmp_path, wrap):
    write_arms(tmp_path / "runs", seeds=(0,))
    write_run(tmp_path / "runs/moved", 0.5, 0.1, facts_of(ENERGY, 0, source="mask"))
    arms = arms_of([Run.read(place) for place in sorted((tmp_path / "runs").iterdir())])
    (label,) = [arm.label for arm in arms if arm.runs[0].name == "moved"]
    for control in (str(tmp_path / "runs/moved"), f"{tmp_path / 'runs'}/moved/", label):
        page = Page(report(tmp_path / "runs", tmp_path / "report.html", controls=wrap(control)))
        assert len(re.findall("against", page.text("controls"))) == 2


def test_one_metric_is_no_list_of_letters(tmp_path):
    write_run(tmp_path / "run", facts=facts_of())
    assert "eval_epg" in Page(report(tmp_path / "run", tmp_path / "a.html", metrics="eval_epg")).text("metrics")


def test_what_is_no_number_is_not_called_not_measured(tmp_path):
    for seed, accuracy in enumerate((0.8, float("nan"), 0.6)):
        write_run(tmp_path / "runs" / f"a{seed}", accuracy, float("nan"), facts_of(seed=seed))
    text = Page(report(tmp_path / "runs", tmp_path / "report.html")).text("metrics")
    assert "2 runs, not a number in 1 more" in text
    assert "not a number3 runs" in text


def test_a_difference_says_what_it_is_without(tmp_path):
    for seed, accuracy in enumerate((0.8, float("nan"), 0.6)):
        write_run(tmp_path / "runs" / f"a{seed}", accuracy, 0.5, facts_of(seed=seed))
        write_run(tmp_path / "runs" / f"b{seed}", 0.5, 0.5, facts_of(TASK, seed))
    text = Page(report(tmp_path / "runs", tmp_path / "report.html")).text("metrics")
    assert "unpaired, holds 0, not a number in 1 more" in text


def test_losses_are_those_of_terms_on_all_sets_and_what_is_no_number_is_said(tmp_path):
    nan = float("nan")
    history = [
        {
            "step": 1,
            "loss/energy": 1.0,
            "undefined_share/energy": nan,
            "eval_birds_loss/energy": 0.5,
            "eval_birds_loss": 9.0,
        },
        {"step": 2, "loss/energy": nan, "eval_birds_undefined_share/energy": 0.25, "train_loss": 9.0},
    ]
    page = Page(report(write_run(tmp_path / "run", facts=facts_of(), history=history), tmp_path / "report.html"))
    losses, dead = page.text("losses"), page.text("dead")
    assert "loss/energy; not a number in 1 log entry of energy" in losses
    assert "eval_birds_loss/energy" in losses
    assert "train_loss" not in losses  # the weighted sum
    assert not re.search("birds_loss(?!/)", losses)
    assert "undefined_share/energy, largest: none; not a number in 1 log entry of energy" in dead
    assert "eval_birds_undefined_share/energy, largest: energy 0.25" in dead


def test_where_only_losses_were_measured_they_are_the_metrics(tmp_path):
    history = [{"step": 1, "eval_loss": 0.5, "eval_loss/task": 0.5}]
    text = Page(report(write_run(tmp_path / "run", history=history), tmp_path / "report.html")).text("metrics")
    assert "No run holds an evaluation" not in text
    assert "eval_loss/task" in text


def test_arms_and_controls_that_are_named_by_numbers(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path / f"a{seed}", facts=facts_of(seed=seed))
    page = Page(report({1: tmp_path / "a0", 2: tmp_path / "a1"}, tmp_path / "report.html", controls=[2]))
    assert "1 against 2" in page.text("controls")


def test_a_folder_whose_name_is_no_text(tmp_path):
    folder = tmp_path / "caf\udce9"  # a byte that is no UTF-8, as old file systems have them
    try:
        write_run(folder, facts=facts_of())
    except OSError:
        pytest.skip("this file system takes no such name")
    assert "1 run" in Page(report([folder], tmp_path / "report.html")).html


HOSTILE = '<script>alert("x")</script>\'"><img src=x onerror=alert(1)>{{ 7*7 }}'


def test_nothing_of_a_file_becomes_markup(tmp_path):
    guidance = {"task": {}, HOSTILE: {"type": HOSTILE, "weight": HOSTILE}}
    history = [{"step": 5, f"eval_{HOSTILE}": 0.5, f"loss/{HOSTILE}": 1.0, f"undefined_share/{HOSTILE}": 0.1}]
    facts = facts_of(guidance, seed=HOSTILE, source=HOSTILE, model=HOSTILE)
    folder = write_run(tmp_path / HOSTILE.replace("/", "|"), facts=facts, history=history)
    write_front(folder)
    front = json.loads((folder / "pareto" / "pareto.json").read_text().replace("eval_epg", "x<b>y"))
    (folder / "pareto" / "pareto.json").write_text(json.dumps(front))
    (folder / "results.json").write_text(json.dumps({HOSTILE: {HOSTILE: {"mean": 0.5, "std": 0.1}}}))
    page = Page(report(folder, tmp_path / "report.html", title=HOSTILE))
    assert not {"script", "img", "b"} & {tag for tag, _ in page.tags}
    assert not any(name.startswith("on") for _, given in page.tags for name in given)
    assert page.html.count("{{ 7*7 }}") > 3


@pytest.mark.parametrize(
    "history",
    [
        [{"step": s, "loss/a": v} for s, v in enumerate((1e308, -1e308, float("nan"), float("inf"), 1e-320, 0.0))],
        [{"step": 1, "loss/a": 3.0}],
        [{"step": s, "loss/a": 2.0} for s in range(2000)],
        [{"step": 0, "eval_epg": 1e308}, {"step": 0, "eval_f1": 0.0}, {"step": 0, "eval_map": float("inf")}],
    ],
)
def test_odd_numbers_make_a_page(tmp_path, history):
    html = report(write_run(tmp_path / "run", facts=facts_of(), history=history), tmp_path / "report.html").read_text()
    assert not re.search(r'(d|cx|cy|x1|y1)="[^"]*(nan|inf)', html)
    assert len(html) < 60_000


def test_results_of_the_demo(tmp_path):
    table = {"guided": {"accuracy": {"mean": 0.887, "std": 0.024}}, "random": {}}
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "results.json").write_text(json.dumps(table))
    text = Page(report(tmp_path / "demo", tmp_path / "report.html")).text("metrics")
    assert "0.887 ± 0.024" in text
    assert "not measured" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": 1.0}, "level=1.0; give a level between 0 and 1"),
        ({"metrics": []}, r"metrics=\[\] names none; name some of \['eval_accuracy'"),
        ({"metrics": ["eval_eqg"]}, r"metrics=\['eval_eqg'\] were measured in no run; there are \['eval_accuracy'"),
        ({"controls": ["gone"]}, r"controls=\['gone'\] are none of the runs"),
    ],
)
def test_options_that_cannot_be_right(tmp_path, options, message):
    folder = write_run(tmp_path / "run", facts=facts_of())
    with pytest.raises(ValueError, match=message):
        report(folder, tmp_path / "report.html", **options)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("given", "message"), [([], "runs is empty"), ({"a": []}, "runs is empty"), ({}, "runs is empty")]
)
def test_no_runs(tmp_path, given, message):
    with pytest.raises(ValueError, match=message):
        report(given, tmp_path / "report.html")
    with pytest.raises(ValueError, match="holds no run"):
        report(tmp_path, tmp_path / "report.html")


def test_the_same_runs_give_the_same_page(tmp_path):
    write_arms(tmp_path / "runs")
    first = report(tmp_path / "runs", tmp_path / "a.html").read_bytes()
    assert report(tmp_path / "runs", tmp_path / "b.html").read_bytes() == first


def test_logs_of_many_terms_are_long_but_bounded(tmp_path):
    history = log_of(0.5, 0.5, steps=tuple(range(1, 3000)))
    html = report(write_run(tmp_path / "run", facts=facts_of(), history=history), tmp_path / "r.html").read_text()
    assert len(html) < 200_000

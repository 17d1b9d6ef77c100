"""Sweeps that are interrupted: every run once, whole rows, one process at a time."""

from __future__ import annotations

import csv
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from kills import KILLED, kill_before

from hf_guidance import Sweep

PACKAGE = Path(__file__).resolve().parents[2] / "hf_guidance"
CELLS = [
    {"loss": loss, "weight": weight, "seed": seed}
    for loss in ("energy", "l1")
    for weight in (5e-4, 0.1)
    for seed in (0, 1)
]


def score(cell):
    return {"epg": len(cell["loss"]) * cell["weight"] / 3, "note": 'a, "b"\nc'}


def rows_of(file):
    """The CSV, read by nothing of the library; every row is whole."""
    with open(file, newline="", encoding="utf-8") as stream:
        lines = list(csv.reader(stream, strict=True))
    assert all(len(line) == len(lines[0]) for line in lines), "a torn row"
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


@pytest.fixture
def counted():
    done = []

    def function(cell):
        done.append(dict(cell))
        return score(cell)

    function.done = done
    return function


def test_one_row_a_run(tmp_path, counted):
    file = tmp_path / "new" / "grid.csv"
    found = Sweep(file).run(CELLS, counted)
    assert found == [cell | {"epg": score(cell)["epg"], "note": 'a, "b" c'} for cell in CELLS]
    rows = rows_of(file)
    assert list(rows[0]) == ["run", "settings", "loss", "weight", "seed", "epg", "note"]
    assert [(row["loss"], float(row["weight"]), int(row["seed"]), float(row["epg"])) for row in rows] == [
        (*cell.values(), score(cell)["epg"]) for cell in CELLS
    ]  # numbers survive exactly
    assert len({row["run"] for row in rows}) == len(CELLS)
    assert counted.done == CELLS
    before = file.read_bytes()
    assert Sweep(file).run(CELLS, lambda cell: pytest.fail("run twice")) == found
    assert file.read_bytes() == before
    assert sorted(path.name for path in file.parent.iterdir()) == [".grid.csv.lock", "grid.csv"]


def test_an_error_keeps_the_rows_before_it(tmp_path, counted):
    def breaks(cell):
        if cell == CELLS[3]:
            raise RuntimeError("out of memory")
        return counted(cell)

    sweep = Sweep(tmp_path / "grid.csv")
    with pytest.raises(RuntimeError, match="out of memory"):
        sweep.run(CELLS, breaks)
    assert len(rows_of(sweep.file)) == 3
    assert sweep.pending(CELLS) == CELLS[3:]
    sweep.run(CELLS, counted)
    assert counted.done == CELLS
    assert sweep.pending(CELLS) == []


def test_a_changed_cell_or_setting_is_a_new_run(tmp_path, counted):
    file = tmp_path / "grid.csv"
    Sweep(file, {"epochs": 5}).run(CELLS[:2], counted)
    Sweep(file, {"epochs": 5}).run([CELLS[0], CELLS[1] | {"weight": 7}], counted)
    assert len(rows_of(file)) == 3
    Sweep(file, {"epochs": 6}).run(CELLS[:2], counted)
    assert [len(rows_of(file)), len(counted.done)] == [5, 5]
    assert len({row["settings"] for row in rows_of(file)}) == 2
    assert len(Sweep(file, {"epochs": 5}).run(CELLS[:2], counted)) == 2
    assert len(counted.done) == 5


def test_what_a_run_is_known_by(tmp_path):
    known = Sweep(tmp_path / "a.csv", {"epochs": 5}).fingerprint
    same = [{"w": 1, "s": "x"}, {"s": "x", "w": 1.0}, {"w": np.float32(1), "s": "x"}, {"w": torch.tensor(1), "s": "x"}]
    assert len({known(cell) for cell in same}) == 1
    others = [{"w": "1", "s": "x"}, {"w": True, "s": "x"}, {"w": 1, "s": None}, {"w": 1, "s": ""}, {"w": 1.5, "s": "x"}]
    assert len({known(cell) for cell in [*same, *others]}) == 1 + len(others)
    assert Sweep(tmp_path / "b.csv", {"epochs": 5.0}).fingerprint(same[0]) == known(same[0])
    assert Sweep(tmp_path / "b.csv", {"epochs": 6}).fingerprint(same[0]) != known(same[0])


def test_results_of_other_names_make_columns(tmp_path):
    results = iter([{"epg": 0.5}, {"group 1": 0.25, "epg": None}, {"iou": float("nan"), "fine": True}])
    sweep = Sweep(tmp_path / "grid.csv")
    found = sweep.run(CELLS[:3], lambda cell: next(results))
    assert list(rows_of(sweep.file)[0])[5:] == ["epg", "group 1", "iou", "fine"]
    assert [row["epg"] for row in rows_of(sweep.file)] == ["0.5", "", ""]
    assert found[1]["group 1"] == 0.25
    assert found[1]["epg"] is found[0]["iou"] is None  # whether it was given as None or not at all
    assert np.isnan(found[2]["iou"])
    assert found[2]["fine"] is True
    again = sweep.run(CELLS[:3], lambda cell: pytest.fail("run twice"))
    assert [{**row, "iou": None} for row in again] == [{**row, "iou": None} for row in found]


@pytest.mark.parametrize(
    "value", ["2024_01", "1_0", 'model, "b"', "x\r\ny", " z ", "ümlaut", -0.1, 2.0, 1e-300, 2**70, np.int64(3)]
)
def test_results_come_back(tmp_path, value):
    sweep = Sweep(tmp_path / "grid.csv")
    fresh = sweep.run(CELLS[:1], lambda cell: {"value": value})
    assert sweep.run(CELLS[:1], lambda cell: pytest.fail("run twice")) == fresh
    assert fresh[0]["value"] == ("x y" if value == "x\r\ny" else value)
    assert type(fresh[0]["value"]) is type(value.item() if isinstance(value, np.generic) else value)


def test_what_is_cut_off_is_done_again(tmp_path, counted):
    file = tmp_path / "grid.csv"
    Sweep(file).run(CELLS[:3], counted)
    whole = file.read_bytes()
    assert whole.count(b"\n") == 4
    start_of_last = whole[:-1].rindex(b"\n") + 1
    for cut in [*range(start_of_last + 1, len(whole)), 5]:
        file.write_bytes(whole[:cut])
        counted.done.clear()
        with pytest.warns(UserWarning, match="the last line is cut off and its run is done again"):
            Sweep(file).run(CELLS[:3], counted)
        assert counted.done == (CELLS[:3] if cut == 5 else CELLS[2:3])
        assert file.read_bytes() == whole
    file.write_bytes(b"\xef\xbb\xbf" + whole.replace(b"\n", b"\r\n"))  # as a spreadsheet saves it
    Sweep(file).run(CELLS[:3], lambda cell: pytest.fail("run twice"))
    file.write_bytes(b"")
    assert len(Sweep(file).run(CELLS[:3], counted)) == 3


def test_killed_before_any_file_operation(tmp_path, counted):
    """Exhaustive: the n-th change of a file never comes, for every n."""
    died = 0
    for operation in range(1, 200):
        file = tmp_path / str(operation) / "grid.csv"
        file.parent.mkdir()
        status = kill_before(operation, file.parent, lambda file=file: Sweep(file).run(CELLS[:3], score))
        rows = rows_of(file) if file.is_file() else []
        assert [row["seed"] for row in rows] == [str(cell["seed"]) for cell in CELLS[: len(rows)]]
        counted.done.clear()
        Sweep(file).run(CELLS[:3], counted)
        assert len(counted.done) == 3 - len(rows)
        assert len({row["run"] for row in rows_of(file)}) == len(rows_of(file)) == 3
        assert sorted(path.name for path in file.parent.iterdir()) == [".grid.csv.lock", "grid.csv"]
        if status == 0:
            break
        assert status == KILLED
        died += 1
    assert died >= 9  # three rows: draft, rename and what comes with them


WORKER = """
import sys, time, types
for name, folder in (("hf_guidance", ""), ("hf_guidance.training", "/training")):
    package = types.ModuleType(name)
    package.__path__ = [sys.argv[1] + folder]  # without importing torch: a killed process must start again quickly
    sys.modules[name] = package
from hf_guidance.training.sweep import Sweep

def function(cell):
    time.sleep(0.004)
    return {"double": 2 * cell["number"], "text": "x" * 2000}

Sweep(sys.argv[2]).run([{"number": number} for number in range(40)], function)
"""


def test_killed_at_random(tmp_path):
    file, chance, kills = tmp_path / "grid.csv", random.Random(0), 0
    command = [sys.executable, "-c", WORKER, str(PACKAGE), str(file)]
    before = 0
    while True:
        worker = subprocess.Popen(command)
        patience = chance.uniform(0.02, 0.15) if kills < 25 else 60
        try:
            assert worker.wait(patience) == 0
            break
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
        kills += 1
        rows = rows_of(file) if file.is_file() else []
        numbers = [int(row["number"]) for row in rows]
        assert numbers == list(range(len(rows)))  # each once, none lost
        assert all(row["double"] == str(2 * int(row["number"])) and len(row["text"]) == 2000 for row in rows)
        assert len(rows) >= before
        before = len(rows)
    assert kills > 0
    assert [int(row["number"]) for row in rows_of(file)] == list(range(40))


HOLDER = WORKER.replace("time.sleep(0.004)", "print('at work', flush=True); time.sleep(60)")


def test_a_second_process_is_refused_and_a_dead_one_is_not_waited_for(tmp_path, counted):
    file = tmp_path / "grid.csv"
    cells = [{"number": 0}]
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(PACKAGE), str(file)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "at work\n"
        with pytest.raises(ValueError, match=r"grid.csv is in use by another sweep.*a file of its own"):
            Sweep(file).run(cells, counted)
        assert Sweep(file).pending(cells) == cells  # to look is allowed
        Sweep(tmp_path / "other.csv").run(cells, lambda cell: {})
    finally:
        holder.kill()
        holder.wait()
    started = time.time()
    Sweep(file).run(cells, lambda cell: {"double": 0})
    assert time.time() - started < 5


def test_a_second_sweep_in_the_process_is_refused(tmp_path):
    sweep = Sweep(tmp_path / "grid.csv")
    with pytest.raises(ValueError, match="in use by another sweep"):
        sweep.run(CELLS, lambda cell: sweep.run(CELLS, score)[0])
    assert len(sweep.run(CELLS[:1], score)) == 1  # free again


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    Sweep(tmp_path / "link.csv").run(CELLS[:1], score)
    assert (tmp_path / "link.csv").is_symlink()
    assert len(rows_of(tmp_path / "real.csv")) == 1


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([], "cells is empty"),
        ([{}], r"cells have the names \[\]; give at least one"),
        ([{"run": 1}], r"none of \['run', 'settings'\]"),
        ([{"a": 1}, {"a": 1, "b": 2}], r"cell 1 has the names \['a', 'b'\], cell 0 has \['a'\]"),
        ([{"a": 1, "b": 2}, {"b": 2.0, "a": 1}], r"the cell {'b': 2.0, 'a': 1} is given twice.*seed"),
        ([{"a": [1]}], r"cell: 'a' is \[1\]; allowed are numbers, text, bool and None"),
    ],
)
def test_bad_cells(tmp_path, cells, message):
    with pytest.raises(ValueError, match=message):
        Sweep(tmp_path / "grid.csv").run(cells, score)
    assert not (tmp_path / "grid.csv").exists()


def test_bad_results_and_settings(tmp_path):
    sweep = Sweep(tmp_path / "grid.csv")
    with pytest.raises(ValueError, match=r"the results \['run', 'weight'\] have names of the cell's columns"):
        sweep.run(CELLS, lambda cell: {"weight": 1, "run": 2})
    with pytest.raises(ValueError, match=r"results: 'epg' is array\(\[1, 2\]\)"):
        sweep.run(CELLS, lambda cell: {"epg": np.array([1, 2])})
    with pytest.raises(ValueError, match="returned None; it returns results by name"):
        sweep.run(CELLS, lambda cell: None)
    with pytest.raises(ValueError, match="settings: 'model' is <object"):
        Sweep(tmp_path / "grid.csv", {"model": object()})


def test_damaged_files(tmp_path):
    sweep = Sweep(tmp_path / "grid.csv")
    sweep.run(CELLS[:2], score)
    text = sweep.file.read_text()
    lines = text.splitlines(keepends=True)
    for damaged, message in (
        (text.replace(",loss,", ",model,"), r"of another grid: its columns begin with .*'model'.* give the cells of that grid"),
        ("epoch,loss\n1,2\n", "of another grid"),
        (lines[0] + lines[1][20:] + lines[2], r"line 2: .* values for 7 columns; remove the line"),
        (text + lines[1], r"line 4: the run [0-9a-f]{16} has a line already; remove one of the two"),
        (text.replace("energy", "enerqy", 1), "was edited: .*'enerqy'.*remove the line"),
    ):  # fmt: skip
        sweep.file.write_text(damaged)
        with pytest.raises(ValueError, match=message):
            sweep.run(CELLS[:2], score)
        assert sweep.file.read_text() == damaged
    sweep.file.write_text(text)
    with pytest.raises(ValueError, match=r"of another grid.*\['run', 'settings', 'number'\]"):
        sweep.run([{"number": 1}], score)

"""The page of a grid of runs."""

from __future__ import annotations

import pytest
from run_folders import write_front
from shown_page import Page

from hf_guidance import report

HEADER = "run,settings,model,attribution,layer,loss,weight,fraction,dilation,moved,seed,baseline_f1,test_f1,test_epg"


def grid_of(folder, lines):
    folder.mkdir()
    (folder / "grid.csv").write_text("\n".join([HEADER, *lines]) + "\n")
    return folder


def test_a_grid(tmp_path):
    lines = []
    for seed in (0, 1):
        lines += [
            f"a{seed},s,vanilla,paper,final,baseline,0.0,1.0,0.0,0,{seed},0.8,0.8,0.3",
            f"b{seed},s,vanilla,paper,final,unguided,0.0,1.0,0.0,0,{seed},0.8,0.81,0.31",
            f"c{seed},s,vanilla,paper,final,energy,0.5,0.1,0.0,0,{seed},0.8,0.79,0.5{seed}",
            f"d{seed},s,vanilla,paper,final,energy,0.5,1.0,0.0,0,{seed},0.8,0.78,0.7",
            f"e{seed},s,vanilla,paper,final,energy,0.5,1.0,0.0,1,{seed},0.8,,0.4",
        ]
    folder = grid_of(tmp_path / "grid", lines)
    write_front(folder / "cells" / "vanilla-paper-final-energy-0.5-1.0-0.0-0-0")
    page = Page(report(folder, tmp_path / "report.html"))
    assert "10 runs in 5 arms" in page.text("")
    assert "vanilla paper final energy 0.5, 10 % annotated − vanilla paper final unguided" in page.text("metrics")
    assert "not measured" in page.text("metrics")
    assert "vanilla paper final energy 0.5 at random places" in page.text("controls")
    assert "eval_epg by eval_accuracy" in page.text("fronts")
    assert any(tag == "svg" and "by annotated rows" in given["aria-label"] for tag, given in page.tags)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,s,vanilla,paper,final,energy,x,1.0,0.0,0,0,0.8,0.8,0.3", "grid.csv, line 2: could not convert"),
        ("a,s,vanilla", "line 2: it has another number of values"),
        ("a,s,v,p,f,energy,1.0,1.0,0.0,0,0,0.8,0.8,0.3,9", "line 2: it has another number of values"),
    ],
)
def test_a_damaged_grid(tmp_path, line, message):
    with pytest.raises(ValueError, match=message):
        report(grid_of(tmp_path / "grid", [line]), tmp_path / "report.html")

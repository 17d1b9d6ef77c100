"""The demos' workers end with their program, make's programs with make; and several trainings show one bar."""

import importlib
import io
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace

import pytest
from kills import descendants, left_after
from rooms import imported

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from tqdm import tqdm
from workers import map_seeds, say

if __name__ != "__main__" and sys.argv[2] == "load":
    os.write(1, b"at work\\n")
    while True:
        pass  # a new worker, which has not begun yet

def work(seed, options):
    tqdm(disable=True)  # as datasets do
    say(f"at work {seed}")
    if options == "fail" and seed == 1:
        raise KeyError("of seed 1")
    while options != "return":
        pass  # at full load, as in training
    return 10 * seed

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell takes from what runs in its background
    print(map_seeds(work, range(3), sys.argv[2], runs=1, workers=2))
"""


@pytest.fixture
def workers(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    return importlib.import_module("workers")


@pytest.fixture
def command(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)  # a file, which new processes can import
    return lambda mode: [sys.executable, str(tmp_path / "program.py"), str(ROOT / "examples"), mode]


def hears_hang_up():
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, and that is inherited


@pytest.mark.parametrize(
    ("mode", "name"),
    [("loop", "SIGTERM"), ("loop", "SIGINT"), ("loop", "SIGHUP"), ("loop", "SIGKILL"), ("load", "SIGKILL")],
)
def test_workers_end_with_the_program(command, mode, name):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command(mode), preexec_fn=hears_hang_up, **pipes) as program:
        try:
            assert all(program.stdout.readline().startswith("at work") for _ in range(2))
            children = descendants(program.pid)
            assert len(children) == 3  # the third looks after semaphores
        finally:
            program.send_signal(signal.Signals[name])
        assert program.wait(15) == (128 + signal.SIGTERM if name == "SIGTERM" else -signal.Signals[name])
        assert left_after(children) == []
        if name == "SIGTERM":
            assert program.stderr.read() == ""  # such as a warning of semaphores that are left


def test_results_come_in_order_and_an_error_at_once(command):
    done = subprocess.run(command("return"), capture_output=True, text=True, timeout=60)
    assert sorted(done.stdout.splitlines()) == ["[0, 10, 20]", "at work 0", "at work 1", "at work 2"]
    assert done.stderr == ""  # where no one looks there is no bar
    failed = subprocess.run(command("fail"), capture_output=True, text=True, timeout=60)  # though seed 0 never ends
    assert failed.returncode == 1
    assert failed.stderr.endswith("KeyError: 'of seed 1'\n")


@pytest.mark.parametrize("target", ["demo", "demo-vqa", "demo-crayon", "demo-sort", "bench", "study", "test"])
@pytest.mark.skipif(not (shutil.which("make") and shutil.which("setpriv")), reason="needs make and Linux's setpriv")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_make_runs_ends_with_make(target, number, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / ".installed").touch()
    (tmp_path / "bin" / "python").write_text("#!/bin/sh\necho at work\nexec sleep 60\n")
    (tmp_path / "bin" / "python").chmod(0o755)
    command = ["make", "--silent", "-C", str(ROOT), target, f"VENV={tmp_path}", "DATA=."]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as make:
        try:
            assert make.stdout.readline() == "at work\n"
            children = descendants(make.pid)
            assert children
        finally:
            make.send_signal(number)
        assert left_after(children) == []


def test_processes_are_started_in_one_place():
    """Where they end with their parent; the other place is `hf_guidance.common.processes`, around `num_proc` of datasets."""
    starters = {"subprocess", "multiprocessing", "multiprocess", "joblib", "pty"}
    folders = ("examples", "hf_guidance", "dataset_scripts", "metrics", "tests/studies", "tests/bench", "tests/tools")
    for file in (file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))):
        found = {name.split(".")[0] for name in imported(file)} & starters
        known = file in (
            ROOT / "examples" / "workers.py",
            ROOT / "tests" / "tools" / "browser.py",
        )  # which waits, a while
        assert not found or known, f"{file} starts processes: by `workers.map_seeds`"
        # Threads of concurrent.futures end with their process.
        calls = r"os\.(fork|spawn|posix_spawn|system|popen)\w*\(|(import|futures\.).*ProcessPoolExecutor"
        assert not re.search(calls, file.read_text()) or known, file


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("screen", [Terminal, io.StringIO])
def test_there_is_one_bar_and_only_on_a_terminal(workers, monkeypatch, capsys, screen):
    monkeypatch.setattr(sys, "stderr", screen())
    reports, done = SimpleQueue(), Future()
    done.set_result(None)
    for report in (0.25, "seed 0 unguided", 0.25, 0.5, "seed 1 unguided", 1.0):
        reports.put(report)
    workers._show(reports, [done, done], 2)
    shown = sys.stderr.getvalue()
    assert "seed 0 unguided\nseed 1 unguided\n" in capsys.readouterr().out
    if screen is Terminal:
        assert re.search(r"100%\|\S+\| 2\.0/2 runs \[\d\d:\d\d<\d\d:\d\d\]\n$", shown)
        assert "\x1b[A" not in shown  # the sign of a second bar
    assert bool(shown) == (screen is Terminal)


@pytest.mark.parametrize("demo", ["demo", "demo_vqa"])
def test_a_trainer_of_a_demo_moves_the_bar_and_draws_none(workers, demo, monkeypatch):
    demo, reports, made = importlib.import_module(demo), SimpleQueue(), {}

    class Trainer:
        def __init__(self, **options):
            made.update(options, callbacks=[])

        def remove_callback(self, kind):
            assert kind.__name__ == "PrinterCallback"

        def add_callback(self, callback):
            made["callbacks"].append(callback)

        def train(self):
            for callback in made["callbacks"]:
                callback.on_step_end(None, SimpleNamespace(max_steps=4), None)

    monkeypatch.setattr(demo, "GuidedTrainer", Trainer)
    monkeypatch.setattr(workers, "_reports", reports)
    if demo.__name__ == "demo":
        demo.train(None, None, None, SimpleNamespace(image_processor=None))
    else:
        rows = [{"question": "what", "answers": ["red"], "features": SimpleNamespace(shape=(1, 8))}]
        demo.train({"train": rows}, None, 0, demo.DemoArguments())
    assert made["args"].disable_tqdm
    assert reports.get_nowait() == 0.25
    assert reports.empty()


def test_arms_of_a_demo_are_known(workers):
    demo = importlib.import_module("demo_vqa")
    assert demo.chosen_arms(demo.DemoArguments(arms="visfis,hint")) == ["hint", "visfis"]
    with pytest.raises(ValueError, match="--arms hint,visfiss: visfiss is unknown; give all, or some of"):
        demo.chosen_arms(demo.DemoArguments(arms="hint,visfiss"))

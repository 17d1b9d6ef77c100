"""Processes end with the one that started them, however that ends: not even SIGKILL leaves one at work."""

import signal
import subprocess
import sys
import time

import pytest
from forks import Fork, script
from kills import descendants, left_after

FORKS = """
import os, time
from hf_guidance.common.processes import forks_end_with_this_process

with forks_end_with_this_process(), forks_end_with_this_process():
    if os.fork() == 0:
        os.fork()
        os.write(1, b"at work\\n")
        while True:
            pass
os.write(1, b"at work\\n")
time.sleep(60)
"""
NO_LONGER = """
import os, time
from hf_guidance.common.processes import forks_end_with_this_process

with forks_end_with_this_process():
    pass
if os.fork() == 0:
    time.sleep(1.5)
    print("still at work", flush=True)
"""
PREPARATION = """
import os, sys, time
import datasets
from datasets import GeneratorBasedBuilder
from hf_guidance.data import AnnotatedImageBuilder, export_dataset

class Endless({base}):
    def _info(self):
        return datasets.DatasetInfo(features=datasets.Features(number=datasets.Value("int64")))

    def _split_generators(self, manager):
        return [datasets.SplitGenerator("train", gen_kwargs=dict(items=[1, 2]))]

    def _generate_examples(self, items):
        os.write(1, b"at work\\n")  # in one piece, beside the other worker
        time.sleep(60)
        yield 0, dict(number=0)

builder = Endless(cache_dir=sys.argv[1] + "/cache")
{call}
"""
PREPARE, EXPORT = (
    "builder.download_and_prepare(num_proc=2)",
    "export_dataset(builder, sys.argv[1] + '/out', num_proc=2)",
)


def killed_at_work(program, signal_number, processes, folder):
    """Start a program, send it a signal when so many processes are at work, and return which are left of all."""
    (folder / "program.py").write_text(program)
    started, limit = Fork(script(folder / "program.py", folder)), time.monotonic() + 60
    try:
        while started.out != processes * "at work\n":
            assert started.poll() is None, started.err
            assert time.monotonic() < limit, started.out
            time.sleep(0.01)
        children = descendants(started.pid)
        assert len(children) >= 2
    finally:
        started.send_signal(signal_number)
    started.wait(15)
    return left_after(children)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_forks_and_their_forks_end_with_their_parent(number, tmp_path):
    assert killed_at_work(FORKS, number, 3, tmp_path) == []


def test_forks_after_the_block_are_as_ever():
    done = subprocess.run([sys.executable, "-c", NO_LONGER], capture_output=True, text=True, timeout=30)
    assert done.stdout == "still at work\n"


@pytest.mark.parametrize(
    ("base", "call"),
    [("AnnotatedImageBuilder", PREPARE), ("GeneratorBasedBuilder", EXPORT)],
)
def test_the_preparation_of_a_dataset_leaves_no_process(base, call, tmp_path):
    assert killed_at_work(PREPARATION.format(base=base, call=call), signal.SIGKILL, 2, tmp_path) == []

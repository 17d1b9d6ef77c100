"""The entry point: help, exit codes, errors in one line, signals, pipes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from hf_guidance.apps.cli.entry import COMMANDS
from hf_guidance.apps.cli.output import json_text, one_line

HEAVY = ("torch", "transformers", "datasets", "numpy", "matplotlib", "huggingface_hub")
LOADED = """
import sys
from hf_guidance.apps.cli.entry import run
code = run(sys.argv[1:])
print(code, [name for name in {heavy} if name in sys.modules])
"""
WAITING = """
import signal, sys, time
from pathlib import Path
from hf_guidance.apps.cli import application, entry
from hf_guidance.common.whole_file import whole_file
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell takes from what runs in its background

@application.app.command("wait")
def wait(folder: Path) -> None:
    with whole_file(folder / "result.txt") as draft:
        draft.write_text("half")
        print("at work", flush=True)
        time.sleep(60)

sys.exit(entry.run(sys.argv[1:]))
"""


@pytest.mark.parametrize("words", [["--help"], *([command, "--help"] for command in COMMANDS), ["metrics"]])
def test_help_loads_nothing_heavy(words):
    program = LOADED.format(heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_80_columns_and_shows_examples(command, cli):
    ended = cli(*command.split(), "--help")
    assert ended.code == 0
    assert f"hf-guidance {command}".strip() in ended.out
    assert "Examples:" in ended.out
    lines = ended.out.splitlines()
    assert [line for line in lines if len(line) > 80] == []
    examples = [line for line in lines if line.startswith("    hf-guidance")]
    assert len(examples) >= 2
    assert all(re.match(rf" +hf-guidance {command or '(' + '|'.join(COMMANDS) + ')'}( |$)", line) for line in examples)


def test_the_version_names_what_it_runs_on(process):
    ended = process("--version")
    assert ended.code == 0
    assert re.match(r"hf-guidance \S+ \(torch \S+, transformers \S+, Python \d", ended.out)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "No such command 'trian'. Did you mean 'train'"),
        (["evaluate", "x"], "Missing option '--dataset'"),
        (["evaluate", "x", "--dataset", "y", "--nothing"], "No such option"),
        (["explain", "x", "y", "--output", "z", "--top-k", "0"], "--top-k"),
        (["publish", "folder", "a/b/c"], "is no name of a repository"),
        (["models", "vit", "--attributions"], "one of them"),
    ],
)
def test_wrong_usage_is_told_with_exit_code_2(words, message, cli):
    ended = cli(*words)
    assert ended.code == 2
    assert ended.out == ""
    assert message in ended.err
    assert "Traceback" not in ended.err


def test_words_that_are_no_text_are_told(cli):
    ended = cli("evaluate", os.fsdecode(b"b\xe4r"), "--dataset", "digits_on_photos")
    assert ended == (2, "", "hf-guidance: b'b\\xe4r' is not UTF-8; rename the file, or write the word anew.\n")


def test_a_failure_is_one_line_and_a_traceback_only_with_debug(cli, tmp_path):
    words = ["evaluate", tmp_path, "--dataset", "digits_on_photos"]
    ended = cli(*words)
    assert ended.code == 1
    assert ended.out == ""
    assert ended.err == f"hf-guidance: {tmp_path} holds no model (no config.json).\n"
    for debug in (["--debug", *words], [*words, "--debug"]):
        ended = cli(*debug)
        assert ended.code == 1
        assert "Traceback" in ended.err
        assert ended.err.endswith(f"hf-guidance: {tmp_path} holds no model (no config.json).\n")


def test_errors_are_one_line_without_tokens():
    assert one_line(ValueError("a\n  b")) == "a b"
    assert one_line(KeyError("name")) == "KeyError: 'name'"
    assert one_line(MemoryError()) == "MemoryError"
    assert one_line(OSError("token hf_abcdefghijKLMNOP123 refused")) == "token hf_*** refused"


def test_json_has_no_numbers_that_json_lacks():
    found = json.loads(json_text({"a": float("nan"), "b": [float("inf"), 1.5], 3: "ü"}), parse_constant=pytest.fail)
    assert found == {"a": None, "b": [None, 1.5], "3": "ü"}


@pytest.mark.parametrize(("name", "code", "said"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "")])
def test_signals_end_it_cleanly(name, code, said, tmp_path):
    command = [sys.executable, "-c", WAITING, "wait", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout.readline() == "at work\n"
        time.sleep(0.1)
        program.send_signal(signal.Signals[name])
        _, err = program.communicate(timeout=20)
    assert program.returncode == code
    assert err == (f"hf-guidance: {said}\n" if said else "")
    assert list(tmp_path.iterdir()) == []  # neither a result nor a draft


def test_a_reader_that_leaves_is_no_error():
    command = f"{sys.executable} -m hf_guidance.apps.cli metrics epg | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=os.environ)
    assert done.stdout.startswith("# Metric Card")
    assert done.stderr == ""


def test_a_new_command_is_a_file_and_a_name(cli, monkeypatch, tmp_path):
    import importlib

    from hf_guidance.apps import cli as package
    from hf_guidance.apps.cli import application, entry

    text = "from hf_guidance.apps.cli.application import app\n\n@app.command('greet')\ndef greet() -> None:\n"
    (tmp_path / "greet.py").write_text(text + "    'Say hello.'\n    print('hello')\n")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    monkeypatch.setattr(entry, "COMMANDS", (*COMMANDS, "greet"))
    monkeypatch.setattr(application.app, "registered_commands", list(application.app.registered_commands))
    importlib.invalidate_caches()
    assert cli("greet") == (0, "hello\n", "")
    assert "greet Say hello." in " ".join(cli("--help").out.split())

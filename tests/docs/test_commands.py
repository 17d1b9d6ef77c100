"""Commands of the pages that run a script of examples/: each is read by the script's own parser, and what it names exists."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest
import transformers
from pages import PAGES, ROOT
from scripts import run_script

from hf_guidance import recipes
from hf_guidance.data import builders, known_datasets

_FENCE = re.compile(r"^```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(r"^python (examples/\S+\.py .*)$", re.MULTILINE)


def commands():
    for page in PAGES:
        text = "\n".join(_FENCE.findall(page.read_text(encoding="utf-8"))).replace("\\\n", " ")
        for found in _COMMAND.findall(text):
            yield pytest.param(shlex.split(found, comments=True), id=f"{page.name}-{found[9:60]}")


class Parsed(Exception):  # not an error: it carries the options out of the script
    """Raised in the place of the run."""


def options_of(words: list[str], monkeypatch) -> dict[str, Any]:
    """The options that a command gives its script."""
    real = transformers.HfArgumentParser.parse_args_into_dataclasses

    def stop(*found: Any, **_: Any) -> None:
        raise Parsed([group for group in found if not isinstance(group, transformers.TrainingArguments)])

    if "run_model_guidance" in words[0]:
        monkeypatch.setattr("hf_guidance.training.grid.run_grid", stop)
    else:
        monkeypatch.setattr(
            transformers.HfArgumentParser,
            "parse_args_into_dataclasses",
            lambda self, *a, **k: stop(*real(self, *a, **k)),
        )
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(ROOT / "examples"))  # as python does for a script
    with pytest.raises(Parsed) as parsed:
        run_script(words[0].removeprefix("examples/").removesuffix(".py"), *words[1:])
    return {name: value for group in parsed.value.args[0] for name, value in vars(group).items()}


def plain(value: Any) -> dict[str, Any]:
    return json.loads(value) if isinstance(value, str) else dict(value or {})


@pytest.mark.parametrize("words", commands())
def test_a_command_is_understood(words, monkeypatch):
    options = options_of(words, monkeypatch)
    if "dataset" not in options:  # a script of one data set
        assert "waterbirds" in words[0]
        return
    if options["dataset"] in known_datasets():
        config = builders._builder_class(options["dataset"]).BUILDER_CONFIG_CLASS
        assert plain(options["builder_config"]).keys() <= config.__dataclass_fields__.keys()
    else:
        assert options["dataset"] == "my_images"
    if options.get("recipe"):
        getattr(recipes, options["recipe"])(**plain(options["recipe_options"]))


def test_they_are_found():
    assert sum(1 for _ in commands()) >= 8

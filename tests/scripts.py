"""Run an example script in this process: a process of its own would import torch and transformers anew."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run_script(name, *options):
    """What ``python examples/<name>.py <options>`` does; errors are raised."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)  # dataclasses look their own module up
        patch.setattr(sys, "argv", [spec.origin, *options])
        spec.loader.exec_module(module)
        module.main()

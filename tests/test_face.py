"""The face of the package: names are loaded when they are asked for, and what that must not change."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import hf_guidance

BEFORE = Path(__file__).parent / "before"
AUTO = """
import sys
{first}
from transformers import AutoConfig, AutoImageProcessor
for folder in sys.argv[1:]:
    print(type(AutoImageProcessor.from_pretrained(folder)).__name__, type(AutoConfig.from_pretrained(folder)).__name__)
"""


@pytest.mark.parametrize("first", ["from hf_guidance import Guidance", "import hf_guidance.models"])
def test_the_first_name_makes_the_models_known_to_the_auto_classes(first):
    folders = [str(BEFORE / name) for name in ("bcos_resnet", "xdnn_resnet")]
    command = [sys.executable, "-c", AUTO.format(first=first), *folders]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["BcosImageProcessor BcosResNetConfig", "XDNNImageProcessor XDNNResNetConfig"]


@pytest.mark.parametrize("room", ["guidance", "apps.pipelines"])
def test_every_room_can_be_the_first(room):
    code = f"import hf_guidance.{room}; from hf_guidance import Guidance, explain"
    subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_every_name_and_room_is_there():
    everything = {}
    exec("from hf_guidance import *", everything)
    assert set(hf_guidance.__all__) <= everything.keys()
    assert hf_guidance.attributions.GradCAM().layer == "final"
    assert {*hf_guidance.__all__, "__all__"} <= set(dir(hf_guidance))


def test_names_are_those_of_the_rooms():
    from hf_guidance.training.trainer import GuidedTrainer

    assert hf_guidance.GuidedTrainer is GuidedTrainer
    assert pickle.loads(pickle.dumps(hf_guidance.GuidedTrainer)) is GuidedTrainer


def test_a_misspelt_name_lists_the_known():
    with pytest.raises(AttributeError, match=r"no attribute 'GuidedTraner'; it has .*'GuidedTrainer'"):
        _ = hf_guidance.GuidedTraner
    with pytest.raises(ImportError, match="GuidedTraner"):
        exec("from hf_guidance import GuidedTraner")

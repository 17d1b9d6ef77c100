"""The way over a Hub, as new users go it: each is a process of its own, whose caches are empty."""

import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from hub_server import TOKEN, Hub, in_this_process
from pages import blocks_of
from PIL import Image
from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessor

from hf_guidance import Guidance, GuidanceArguments, GuidedTrainer, Term
from hf_guidance.attributions import GradCAM
from hf_guidance.models import BcosImageProcessor, BcosResNetConfig, BcosResNetForImageClassification
from hf_guidance.objectives import Energy

ROOT = Path(__file__).parents[1]
REPO, OWN = "tester/guided-resnet", "tester/guided-bcos"

CLASSIFY = """
import json, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "hf_guidance":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline
torch.set_num_threads(1)
image = Image.new("RGB", (32, 32), (200, 30, 90))
found = [pipeline("image-classification", sys.argv[1])(image)]
model = AutoModelForImageClassification.from_pretrained(sys.argv[2], trust_remote_code=True)
inputs = AutoImageProcessor.from_pretrained(sys.argv[2], trust_remote_code=True)(image, return_tensors="pt")
with torch.no_grad():
    found.append(model(**inputs).logits.tolist())
print(json.dumps(found))
"""
GO_ON = """
import json, sys
import hf_guidance.models
import torch
from PIL import Image
from hf_guidance import Grounding, Guidance
from hf_guidance.attributions import GradCAM
from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline
torch.set_num_threads(1)
image = Image.new("RGB", (32, 32), (200, 30, 90))
found = [pipeline("image-classification", sys.argv[1])(image)]
model = AutoModelForImageClassification.from_pretrained(sys.argv[2])
assert type(model).__module__.startswith("hf_guidance."), type(model)
inputs = AutoImageProcessor.from_pretrained(sys.argv[2])(image, return_tensors="pt")
with torch.no_grad():
    found.append(model(**inputs).logits.tolist())
for repo in sys.argv[1:3]:
    assert Guidance.from_pretrained(repo)["energy"].weight == 0.5
grounding = Grounding(GradCAM(), metrics=("tester/epg", sys.argv[3] + "/metrics/attribution_iou", "pointing_game"))
half = torch.cat([torch.ones(4, 8), torch.zeros(4, 8)]).numpy()
grounding.add_pairs([(half + 1, half)])
print(json.dumps([*found, grounding.compute()]))
try:
    Grounding(GradCAM(), metrics=("tester/none",))
except ValueError as error:
    print(error)
"""


def said_in_docs(block):
    """A code block of docs/hub.md, with the repos of this test."""
    blocks = blocks_of("docs/hub.md")
    assert len(blocks) == 3
    return blocks[block].code.replace('"org/', '"tester/')


def publish(folder):
    torch.manual_seed(0)
    draw = np.random.default_rng(0)

    def row(i):
        image = Image.fromarray(draw.integers(0, 256, (32, 32, 3), dtype=np.uint8))
        return {"image": image, "labels": i % 2, "objects": [{"bbox": [4.0, 4.0, 16.0, 16.0], "category": i % 2}]}

    rows = datasets.Dataset.from_list([row(i) for i in range(4)]).cast_column("image", datasets.Image())
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic", "num_labels": 2}
    size = {"height": 32, "width": 32}
    for repo, model, processor in (
        (REPO, ResNetForImageClassification(ResNetConfig(**sizes)), ViTImageProcessor(size=size)),
        (OWN, BcosResNetForImageClassification(BcosResNetConfig(**sizes)), BcosImageProcessor(size=size)),
    ):
        guidance = Guidance(energy=Term(Energy(GradCAM()), 0.5, "rows"))
        args = GuidanceArguments(
            str(folder / repo), hub_model_id=repo, max_steps=1, report_to="none", save_strategy="no", use_cpu=True,
            disable_tqdm=True, dataloader_pin_memory=False,
        )  # fmt: skip
        trainer = GuidedTrainer(model, args, train_dataset=rows, processing_class=processor, guidance=guidance)
        trainer.train()
        said = said_in_docs(0) if repo == REPO else "trainer.push_to_hub()"
        exec(said, {"trainer": trainer, "guidance": guidance})


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """The Hub after a guided ResNet and a B-cos net were published, and what two new users found there."""
    folder = tmp_path_factory.mktemp("round_trip")
    with Hub() as hub:
        hub.put_folder("tester/epg", ROOT / "metrics" / "epg", "space")

        def run(script, *arguments, **variables):
            environment = hub.environment(folder / arguments[-1], **variables)
            environment = {name: value for name, value in environment.items() if name != "PYTHONPATH"} | variables
            command = [sys.executable, "-c", script, *arguments[:-1]]
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            return done

        with pytest.MonkeyPatch.context() as patch, in_this_process(hub, folder / "publisher", patch):
            publish(folder / "runs")
        stranger = run(CLASSIFY + said_in_docs(2), REPO, OWN, "stranger")
        friend = run(GO_ON + said_in_docs(1), REPO, OWN, str(ROOT), "friend", PYTHONPATH=str(ROOT))
        yield hub, folder, [stranger, friend]


def test_each_repo_is_one_commit(walked):
    hub, _, _ = walked
    assert [len(hub.repo(name).commits) for name in (REPO, OWN)] == [2, 2]
    whole = {"config.json", "model.safetensors", "preprocessor_config.json", "guidance.json", "README.md"}
    assert hub.files(REPO).keys() >= whole
    assert hub.files(OWN).keys() >= whole | {"modeling_bcos_resnet.py", "image_processing_bcos_resnet.py"}
    assert not [name for name in hub.files(REPO) if name.endswith(".py")]


def test_a_stranger_and_a_friend_see_the_same(walked):
    _, _, (stranger, friend) = walked
    assert json.loads(stranger.stdout) == json.loads(friend.stdout.splitlines()[0])[:2]


def test_metrics_come_from_the_hub_from_folders_and_from_the_library(walked):
    _, _, (_, friend) = walked
    measured = json.loads(friend.stdout.splitlines()[0])[2]
    assert measured["epg"] == pytest.approx(2 / 3)
    assert measured.keys() >= {"epg", "attribution_iou", "pointing_game"}
    assert "metric 'tester/none': there is no folder of this path with none.py, and no such Space" in friend.stdout


def test_the_token_is_in_no_file_and_no_output(walked):
    hub, folder, runs = walked
    told = "".join(run.stdout + run.stderr for run in runs)
    files = [Path(place) / name for place, _, names in os.walk(folder) for name in names]
    assert len(files) > 20
    assert TOKEN not in told
    assert not [file for file in files if TOKEN.encode() in file.read_bytes()]
    assert not [
        name for repo in hub.repos.values() for name, body in repo.commits[-1].files.items() if TOKEN.encode() in body
    ]

"""A captioner loads and captions where this library is not installed: its source lies beside its weights."""

import json
import os
import subprocess
import sys

import torch
from safetensors.torch import save_file
from toy_captions import caption_batch, captioner

STRANGER = """
import json, sys
from pathlib import Path
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "hf_guidance":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText
torch.set_num_threads(1)
model = AutoModelForImageTextToText.from_pretrained("captioner", trust_remote_code=True, dtype=torch.float64).eval()
features = load_file("boxes")["visual_feats"]
greedy = model.generate(visual_feats=features, do_sample=False, max_new_tokens=5)
beams = model.generate(visual_feats=features, num_beams=3, max_new_tokens=5)
Path("said").write_text(json.dumps([greedy.tolist(), beams.tolist()]))
"""


def test_captions_without_this_library(tmp_path):
    model = captioner().eval()
    model.save_pretrained(tmp_path / "captioner")
    features = caption_batch()["visual_feats"]
    save_file({"visual_feats": features}, tmp_path / "boxes")
    environment = os.environ | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", STRANGER], cwd=tmp_path, env=environment, check=True)
    greedy, beams = (torch.tensor(tokens) for tokens in json.loads((tmp_path / "said").read_text()))
    assert torch.equal(greedy, model.generate(visual_feats=features, do_sample=False, max_new_tokens=5))
    assert torch.equal(beams, model.generate(visual_feats=features, num_beams=3, max_new_tokens=5))

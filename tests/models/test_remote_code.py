"""Models of this library load where it is not installed, from the source that is saved beside them."""

import ast
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageClassification,
    AutoModelForVisualQuestionAnswering,
    AutoTokenizer,
)
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from hf_guidance.families import family_of
from hf_guidance.models import (
    BcosImageProcessor,
    BcosResNetConfig,
    BcosResNetForImageClassification,
    PythiaConfig,
    PythiaForQuestionAnswering,
    SANConfig,
    SANForQuestionAnswering,
    UpDnConfig,
    UpDnForQuestionAnswering,
    XDNNImageProcessor,
    XDNNResNetConfig,
    XDNNResNetForImageClassification,
    word_tokenizer,
)
from hf_guidance.models.shared.one_file import one_file

SIZES = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic", "num_labels": 3}
SIZE = {"height": 32, "width": 32}
QUESTION = "Is it red?"

# A process in which importing hf_guidance fails, as where it is not installed, does all that a stranger may do.
STRANGER = f"""
import json, sys
from pathlib import Path
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "hf_guidance":
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
sys.stdin.close()
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoImageProcessor, AutoModelForImageClassification, AutoModelForVisualQuestionAnswering, AutoTokenizer
torch.set_num_threads(1)
root, errors, logits = Path(sys.argv[1]), {{}}, {{}}

def images(kind, **trust):
    model = AutoModelForImageClassification.from_pretrained(root / kind, **trust).eval()
    return model, AutoImageProcessor.from_pretrained(root / kind, **trust)(Image.open(root / "image.png"), return_tensors="pt")

def questions(kind, **trust):
    model = AutoModelForVisualQuestionAnswering.from_pretrained(root / kind, **trust).eval()
    tokenizer = AutoTokenizer.from_pretrained(root / kind)
    words = tokenizer([{QUESTION!r}], padding="max_length", truncation=True, return_tensors="pt")
    return model, words | load_file(root / "boxes")

for kind, load in (("bcos", images), ("xdnn", images), ("updn", questions), ("pythia", questions), ("san", questions)):
    model, inputs = load(kind, trust_remote_code=True)
    assert type(model).__module__.startswith("transformers_modules."), type(model)
    with torch.no_grad():
        logits[kind] = model(**inputs).logits
    model.save_pretrained(root / "again" / kind)
save_file(logits, root / "logits")
for name, trust in (("silent", {{}}), ("distrust", {{"trust_remote_code": False}}), ("old", {{"trust_remote_code": True}})):
    try:
        images("old" if name == "old" else "bcos", **trust)
    except Exception as error:
        errors[name] = f"{{type(error).__name__}}: {{error}}"
try:
    import hf_guidance
except ImportError as error:
    errors["absent"] = str(error)
assert not any(name.partition(".")[0] == "hf_guidance" for name in sys.modules)
(root / "errors").write_text(json.dumps(errors))
"""


def bcos():
    return BcosResNetForImageClassification(BcosResNetConfig(**SIZES)), BcosImageProcessor(size=SIZE)


def xdnn():
    return XDNNResNetForImageClassification(XDNNResNetConfig(**SIZES)), XDNNImageProcessor(size=SIZE)


def updn():
    tokenizer = word_tokenizer([QUESTION])
    config = UpDnConfig(vocab_size=len(tokenizer), word_size=6, hidden_size=8, visual_feat_dim=10, num_labels=3)
    return UpDnForQuestionAnswering(config), tokenizer


def pythia():
    tokenizer = word_tokenizer([QUESTION])
    config = PythiaConfig(
        vocab_size=len(tokenizer), word_size=6, hidden_size=5, word_attention_size=4, visual_feat_dim=10,
        box_encoding_size=7, grid_feat_dim=None, fusion_size=16, text_branch_size=6, image_branch_size=8, num_labels=3,
    )  # fmt: skip
    return PythiaForQuestionAnswering(config), tokenizer


def san():
    tokenizer = word_tokenizer([QUESTION])
    config = SANConfig(
        vocab_size=len(tokenizer), word_size=6, hidden_size=8, attention_size=4, visual_feat_dim=10, num_labels=3,
    )  # fmt: skip
    return SANForQuestionAnswering(config), tokenizer


KINDS = {"bcos": bcos, "xdnn": xdnn, "updn": updn, "pythia": pythia, "san": san}


def drawn(model):
    """No parameter at an initial value that hides a difference."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model.eval()


def picture(path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(path)


@pytest.fixture(scope="module")
def visited(tmp_path_factory):
    """A folder with a model of each kind, where a stranger has been; it knows nothing of this checkout."""
    root = tmp_path_factory.mktemp("visited")
    torch.manual_seed(0)
    for kind, build in KINDS.items():
        model, reader = build()
        drawn(model).save_pretrained(root / kind)
        reader.save_pretrained(root / kind)
    bcos()[0].save_pretrained(root / "old")
    file = root / "old" / "modeling_bcos_resnet.py"
    file.write_text(file.read_text().replace("import PreTrainedConfig, PreTrainedModel", "import NameOfLater"))
    picture(root / "image.png")
    save_file({"visual_feats": torch.randn(1, 4, 10)}, root / "boxes")
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment = kept | {"HF_HOME": str(root / "home"), "HF_MODULES_CACHE": str(root / "home" / "modules")}
    command = [sys.executable, "-c", STRANGER, str(root)]
    subprocess.run(command, cwd=root, env=environment, check=True)
    return root, json.loads((root / "errors").read_text())


def here(root, kind):
    """The logits of the same model loaded in this process."""
    if kind in ("updn", "pythia", "san"):
        words = AutoTokenizer.from_pretrained(root / kind)(
            [QUESTION], padding="max_length", truncation=True, return_tensors="pt"
        )
        model, inputs = (
            AutoModelForVisualQuestionAnswering.from_pretrained(root / kind),
            words | load_file(root / "boxes"),
        )
    else:
        model = AutoModelForImageClassification.from_pretrained(root / kind)
        inputs = AutoImageProcessor.from_pretrained(root / kind)(Image.open(root / "image.png"), return_tensors="pt")
    assert type(model).__module__.startswith("hf_guidance.")
    with torch.no_grad():
        return model.eval()(**inputs).logits


@pytest.mark.parametrize("kind", ["bcos", "xdnn", "updn", "pythia", "san"])
def test_models_load_without_the_library(visited, kind):
    root, _ = visited
    assert torch.equal(load_file(root / "logits")[kind], here(root, kind))  # the last bit included


@pytest.mark.parametrize("kind", ["bcos", "xdnn", "updn", "pythia", "san"])
def test_what_a_stranger_saves_loads_again(visited, kind):
    root, _ = visited
    (saved,) = (root / kind).glob("modeling_*.py")
    (again,) = (root / "again" / kind).glob("*.py")
    assert again.name == saved.name
    assert again.read_text() == saved.read_text()
    assert type(AutoConfig.from_pretrained(root / "again" / kind)).__module__.startswith("hf_guidance.")


@pytest.mark.parametrize("trust", ["silent", "distrust"])
def test_without_trust_nothing_runs(visited, trust):
    assert "contains custom code which must be executed" in visited[1][trust]
    assert "trust_remote_code=True" in visited[1][trust]


def test_a_library_that_is_too_old_is_named(visited):
    assert visited[1]["old"].startswith("ImportError: this model needs torch, torchvision and transformers >= 5.17")
    assert "pip install -U hf-guidance" in visited[1]["old"]


def test_the_stranger_had_no_library(visited):
    assert visited[1]["absent"] == "No module named 'hf_guidance'"


@pytest.mark.parametrize("trust", [{}, {"trust_remote_code": True}, {"trust_remote_code": False}])
def test_where_the_library_is_imported_its_own_classes_are_used(trust, tmp_path):
    for part in bcos():
        part.save_pretrained(tmp_path)
    assert type(AutoConfig.from_pretrained(tmp_path, **trust)) is BcosResNetConfig
    assert type(AutoModelForImageClassification.from_pretrained(tmp_path, **trust)) is BcosResNetForImageClassification
    assert type(AutoImageProcessor.from_pretrained(tmp_path, **trust)) is BcosImageProcessor
    again = AutoModelForImageClassification.from_pretrained(tmp_path, **trust)
    again.save_pretrained(tmp_path / "again")
    config = json.loads((tmp_path / "again" / "config.json").read_text())
    assert config["auto_map"] == {
        "AutoConfig": "modeling_bcos_resnet.BcosResNetConfig",
        "AutoModelForImageClassification": "modeling_bcos_resnet.BcosResNetForImageClassification",
    }


def test_the_tokenizer_needs_no_code(tmp_path):
    updn()[1].save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.py"))
    assert AutoTokenizer.from_pretrained(tmp_path)([QUESTION]).input_ids


def test_the_push_of_transformers_takes_the_source_along(hub, tmp_path):
    model, processor = bcos()
    model.push_to_hub("tester/net")
    processor.push_to_hub("tester/net")
    assert hub.files("tester/net").keys() >= {"modeling_bcos_resnet.py", "image_processing_bcos_resnet.py"}
    model.config.save_pretrained(str(tmp_path / "config"), push_to_hub=True, repo_id="tester/config")
    assert hub.files("tester/config").keys() >= {"config.json", "modeling_bcos_resnet.py"}


def test_guidance_refuses_a_copy(tmp_path):
    """As where the model was loaded before the library was imported: its layers would not hear the library."""
    bcos()[0].save_pretrained(tmp_path)
    cls = get_class_from_dynamic_module("modeling_bcos_resnet.BcosResNetForImageClassification", str(tmp_path))
    copy = cls.from_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=r"is the copy that was saved beside its weights.*`import hf_guidance\.models` first"
    ):
        family_of(copy)


def test_a_subclass_of_a_user_carries_no_code(tmp_path):
    class Mine(BcosResNetConfig):
        pass

    Mine(**SIZES).save_pretrained(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize("build", [bcos, xdnn, updn, pythia, san])
def test_the_file_is_the_same_each_time_and_says_where_it_is_from(build, tmp_path):
    for folder in ("a", "b"):
        build()[0].save_pretrained(tmp_path / folder)
    (name,) = (file.name for file in (tmp_path / "a").glob("*.py"))
    text = (tmp_path / "a" / name).read_text()
    assert text == (tmp_path / "b" / name).read_text()
    about = ast.get_docstring(ast.parse(text))
    assert "Written by hf_guidance\n" in about
    assert "pip install hf-guidance" in about
    imported = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert all("hf_guidance" not in ast.unparse(node) for node in imported)


MODULES = {
    "a": '"""A."""\n\nfrom math import pi\n\n_SIZE = 2\n\n\ndef area():\n    """Of a circle."""\n    return pi * _SIZE\n',
    "b": "from {own}.a import area as of_circle\n\n_SIZE = 3  # ö _SIZE\n\n\ndef both():\n    return of_circle(), 'ö', _SIZE\n",
}


def write_modules(tmp_path, monkeypatch, **modules):
    own = tmp_path / f"own_{tmp_path.name}"  # a name of its own: Python remembers packages
    own.mkdir()
    (own / "__init__.py").touch()
    for name, text in modules.items():
        (own / f"{name}.py").write_text(text.format(own=own.name))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("hf_guidance.models.shared.one_file._OWN", own.name)
    return own.name


def test_names_that_two_modules_define_stay_apart(tmp_path, monkeypatch):
    own = write_modules(tmp_path, monkeypatch, **MODULES)
    text = one_file([f"{own}.b"], "Doc.", {}, "missing")
    found = {}
    exec(text, found)
    assert found["both"]() == (found["pi"] * 2, "ö", 3)
    assert found["__doc__"] == "Doc.\n"
    assert "# ö _SIZE" in text


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("def f():\n    from {own}.a import area\n", "imports .* as a whole or in a function"),
        ("import {own}.a\n", "imports .* as a whole"),
        ("from cmath import pi\nfrom {own}.a import area\n", "pi stands for two things"),
        ("from {own}.a import area\n_SIZE = 1\ndef f(_SIZE):\n    return _SIZE\n", "an argument is called _SIZE"),
    ],
)
def test_what_does_not_fit_into_one_file_is_refused(tmp_path, monkeypatch, module, message):
    own = write_modules(tmp_path, monkeypatch, a=MODULES["a"], b=module)
    with pytest.raises(ValueError, match=message):
        one_file([f"{own}.b"], "Doc.", {}, "missing")

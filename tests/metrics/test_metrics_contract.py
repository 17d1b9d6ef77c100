"""What every metric promises; a new folder in metrics/ is covered on arrival."""

import ast
import inspect
import json
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import evaluate
import numpy as np
import pytest
import torch
import yaml
from metric_inputs import INPUTS

FOLDERS = sorted(path.parent for path in (Path(__file__).parents[2] / "metrics").glob("*/README.md"))
NAMES = [folder.name for folder in FOLDERS]
TEXTS = {folder.name: (folder / f"{folder.name}.py").read_text() for folder in FOLDERS}
READS_MAPS = [name for name, text in TEXTS.items() if "def _plane(" in text]
OF_MAPS = [name for name in READS_MAPS if "def _pairs(" in TEXTS[name]]  # and masks, nothing else
SHARED = dict.fromkeys(("_numpy", "_plane"), READS_MAPS) | dict.fromkeys(("_pairs", "add"), OF_MAPS)  # of the same text
RANGES = {"background_gap": (-100, 100), "caption_scores": (0, 10)}  # in percent, and of CIDEr-D; all others are shares

every_folder = pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
every_metric = pytest.mark.parametrize("name", NAMES)
every_map_metric = pytest.mark.parametrize("name", OF_MAPS)


def inputs(name, pairs):
    """Return columns that the metric accepts."""
    return {"predictions": pairs[0], "references": pairs[1]} if name in OF_MAPS else INPUTS[name]


def tree(folder):
    return ast.parse((folder / f"{folder.name}.py").read_text())


def test_metrics_are_found():
    assert {"attribution_iou", "epg", "pointing_game"} <= set(OF_MAPS)
    assert {"on_object_epg", *OF_MAPS} <= set(READS_MAPS)
    assert set(INPUTS) == set(NAMES) - set(OF_MAPS)


@every_folder
def test_file_is_readable_by_evaluate(folder):
    imports = [node for node in ast.walk(tree(folder)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert imports
    assert all(len(node.names) == 1 for node in imports), "one import per line"
    roots = {node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in imports}
    required = {re.split(r"[<>=]", line)[0] for line in (folder / "requirements.txt").read_text().split()}
    assert {root.split(".")[0] for root in roots} - set(sys.stdlib_module_names) == required
    for node in ast.walk(tree(folder)):
        if isinstance(node, ast.FunctionDef):
            assert ast.get_docstring(node), f"{node.name} has no docstring"
            assert node.end_lineno - node.lineno < 40, f"{node.name} is long"
            assert node.name != "_compute" or node.args.kwarg is None, "no **kwargs in _compute"


@every_folder
def test_card(folder, load, pairs):
    _, header, body = (folder / "README.md").read_text().split("---\n", 2)
    header = yaml.safe_load(header)
    assert header["sdk"] == "gradio"
    assert (folder / header["app_file"]).is_file()
    assert {"title", "sdk_version"} <= set(header)
    assert {"evaluate", "metric"} <= set(header["tags"])
    sections = ("Description", "How to use", "Inputs", "Output", "Example", "Limitations", "Citation")
    assert [f"\n## {section}\n" in body for section in sections] == [True] * len(sections)
    metric = load(folder.name)
    options = set(inspect.signature(metric._compute).parameters)
    assert all(f"**{name}**" in body for name in options)
    results = metric.compute(**inputs(folder.name, pairs))
    assert all(f"- `{key}`: " in body and key in metric.inputs_description for key in results)
    assert metric.citation
    assert metric.info.reference_urls[0] in body


@every_folder
def test_examples_of_card_and_docstring(folder, load):
    body, name = (folder / "README.md").read_text(), folder.name
    call, printed = re.search(r">>> \w+\.(compute\(.*\))\n(.*?)```", body, re.DOTALL).groups()
    assert eval(f"metric.{call}", {"metric": load(name)}) == ast.literal_eval(printed)
    call, printed = re.search(r">>> (metric\.compute.*)\n\s+(.*)", load(name).inputs_description).groups()
    assert eval(call, {"metric": load(name)}) == ast.literal_eval(printed)


@every_folder
def test_folder_works_elsewhere(folder, tmp_path, pairs):
    copy = shutil.copytree(folder, tmp_path / "elsewhere" / folder.name)
    given = inputs(folder.name, pairs)
    assert evaluate.load(str(copy)).compute(**given) == evaluate.load(str(folder)).compute(**given)


def test_shared_functions_are_identical():
    """evaluate loads one file, so metrics of maps repeat the checks of their input; they must not drift apart."""
    texts = {}
    for folder in FOLDERS:
        for node in ast.walk(tree(folder)):
            if isinstance(node, ast.FunctionDef) and folder.name in SHARED.get(node.name, ()):
                texts.setdefault(node.name, set()).add(ast.unparse(node))
    assert set(texts) == set(SHARED)
    assert all(len(versions) == 1 for versions in texts.values())


@every_metric
@pytest.mark.parametrize("keep_in_memory", [False, True])
def test_every_way_to_add_gives_the_same(name, load, pairs, keep_in_memory):
    given = inputs(name, pairs)
    metric = load(name, keep_in_memory=keep_in_memory)
    expected = metric.compute(**given)
    rows = range(len(next(iter(given.values()))))
    for row in rows:
        one = {key: column[row] for key, column in given.items()}
        metric.add(**{key.removesuffix("s") if key in ("predictions", "references") else key: one[key] for key in one})
    assert len(metric) == len(rows)
    assert metric.compute() == expected
    for start in rows[::3]:
        metric.add_batch(**{key: column[start : start + 3] for key, column in given.items()})
        metric.add_batch(**{key: [] for key in given})
    assert metric.compute() == expected
    other = load(name, keep_in_memory=keep_in_memory)  # two at a time in one process
    other.add_batch(**given)
    assert metric.compute(**given) == other.compute() == expected


@every_metric
def test_result_is_plain_and_in_range(name, load, pairs):
    result = load(name).compute(**inputs(name, pairs))
    assert json.loads(json.dumps(result)) == result
    scores = {key: value for key, value in result.items() if key != "groups"}
    low, high = RANGES.get(name, (0, 1))
    assert all(type(value) is float and low <= value <= high for value in scores.values())


@every_map_metric
def test_order_does_not_matter(name, load, pairs):
    order = np.random.default_rng(3).permutation(len(pairs[0]))
    shuffled = [[column[i] for i in order] for column in pairs]
    assert load(name).compute(**inputs(name, shuffled)) == load(name).compute(**inputs(name, pairs))


@every_map_metric
def test_kinds_of_input(name, load):
    rng = np.random.default_rng(4)
    maps = rng.integers(-8, 9, (6, 5, 7)).astype(np.float64)  # exact in bfloat16
    masks = rng.random((6, 5, 7)) > 0.5
    expected = load(name).compute(predictions=maps, references=masks)
    tensor = torch.tensor(maps, requires_grad=True)
    brain = torch.tensor(maps, dtype=torch.bfloat16)
    for given in (
        (maps.tolist(), masks.tolist()),
        (list(maps), masks.astype(np.uint8)),
        (tensor, torch.tensor(masks)),
        (list(tensor), list(torch.tensor(masks, dtype=torch.float16))),
        (brain, torch.tensor(masks, dtype=torch.bfloat16)),
        (list(brain), masks.astype(np.float32)),
        (maps.astype(np.int16)[:, ::1], np.asfortranarray(masks)),
    ):
        assert load(name).compute(predictions=given[0], references=given[1]) == expected
    assert tensor.detach().numpy().tolist() == maps.tolist()  # inputs stay as they were


@every_map_metric
@pytest.mark.parametrize(
    ("prediction", "reference", "message"),
    [
        (np.ones((3, 4)), np.ones((4, 3)), r"predictions\[2\] has shape \(3, 4\) but references\[2\].*resize"),
        (np.ones((1, 3, 4)), np.ones((3, 4)), r"predictions\[2\] has shape \(1, 3, 4\); allowed is \(height, width\)"),
        (np.ones(3), np.ones(3), r"predictions\[2\] has shape \(3,\)"),
        (np.ones((0, 3)), np.ones((0, 3)), r"predictions\[2\] has shape \(0, 3\).*at least 1"),
        (np.full((2, 2), np.nan), np.ones((2, 2)), r"predictions\[2\] holds NaN or infinity in 4 of 4 pixels"),
        (np.full((2, 2), -np.inf), np.ones((2, 2)), r"predictions\[2\] holds NaN or infinity"),
        (np.ones((2, 2)), np.full((2, 2), np.nan), r"references\[2\] holds NaN or infinity"),
        (np.ones((2, 2)), np.full((2, 2), 255), r"references\[2\] holds values from 255 to 255.*divide .* by 255"),
        (np.ones((2, 2)), -np.ones((2, 2)), r"references\[2\] holds values from -1 to -1"),
        ([[1, 2], [3]], np.ones((2, 2)), r"predictions\[2\] is not an array of numbers"),
        ([["a"]], np.ones((1, 1)), r"predictions\[2\] is not an array of numbers"),
        (None, np.ones((1, 1)), r"predictions\[2\] has shape \(\)"),
    ],
)
def test_bad_rows(name, load, prediction, reference, message):
    good = np.ones((2, 2))
    metric = load(name)
    metric.add(prediction=good, reference=good)
    with pytest.raises(ValueError, match=message):
        metric.add_batch(predictions=[good, prediction], references=[good, reference])
    assert len(metric) == 1
    assert metric.compute() == load(name).compute(predictions=[good], references=[good])


@every_map_metric
@pytest.mark.parametrize("keep_in_memory", [False, True])
def test_bad_batches(name, load, keep_in_memory):
    metric, good = load(name, keep_in_memory=keep_in_memory), np.ones((2, 2))
    with pytest.raises(ValueError, match="2 predictions and 1 references"):
        metric.compute(predictions=[good, good], references=[good])
    for given in ({"predictions": [good]}, {"references": [good]}):
        with pytest.raises(ValueError, match="is of type NoneType; allowed is a list"):
            metric.compute(**given)
    with pytest.raises(ValueError, match="No pair was added"):
        metric.compute()
    with pytest.raises(ValueError, match="No pair was added"):
        metric.compute(predictions=[], references=[])
    assert metric.compute(predictions=[good], references=[good])


@every_metric
def test_two_processes(name, load, pairs, tmp_path):
    """Each process adds its share, one may have none; process 0 returns the result of all."""
    given = inputs(name, pairs)
    expected = load(name).compute(**given)
    for cut in (3, 0):
        results = {}

        def work(rank, cut=cut, results=results):
            metric = load(name, num_process=2, process_id=rank, experiment_id=f"cut{cut}", cache_dir=str(tmp_path))
            share = slice(cut) if rank else slice(cut, None)
            metric.add_batch(**{key: column[share] for key, column in given.items()})
            results[rank] = metric.compute()

        threads = [threading.Thread(target=work, args=(rank,)) for rank in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert results == {0: expected, 1: None}


def test_combine(load, pairs):
    separate = {}
    for name in OF_MAPS:
        separate |= load(name).compute(predictions=pairs[0], references=pairs[1])
    combined = evaluate.combine([load(name) for name in OF_MAPS])
    assert combined.compute(predictions=pairs[0], references=pairs[1]) == separate
    combined.add_batch(predictions=pairs[0][:5], references=pairs[1][:5])
    for prediction, reference in zip(pairs[0][5:], pairs[1][5:], strict=True):
        combined.add(prediction=prediction, reference=reference)
    assert combined.compute() == separate


MEMORY = """
import resource, sys
import evaluate, numpy as np
side = int(sys.argv[1])
maps = np.random.default_rng(0).normal(size=(100, side, side)).astype(np.float32)
masks = maps > 1
for folder in sys.argv[2:]:
    metric = evaluate.load(folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(50):
        metric.add_batch(predictions=maps, references=masks)
    assert len(metric) == 5000
    metric.compute()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux only")
@pytest.mark.parametrize("side", [112, pytest.param(224, marks=pytest.mark.slow)])
def test_memory_of_5000_pairs(side):
    folders = [str(folder) for folder in FOLDERS if folder.name in OF_MAPS]
    run = [sys.executable, "-c", MEMORY, str(side), *folders]
    out = subprocess.run(run, check=True, capture_output=True, text=True, timeout=300).stdout
    grown = dict(zip(OF_MAPS, map(int, out.split()), strict=True))
    size = 5000 * side * side * 4 / 1024  # of the maps; the numbers of a pair take next to nothing
    assert max(grown.values()) < 0.2 * size, f"KiB: {grown} of {size}"

"""The order of rooms: each imports only those before it, for types too; and the limits of size and speed that hold."""

import ast
import subprocess
import sys

import pytest
from rooms import FILES, MODULES, PACKAGE, floors, imported, modules_imported, room

ROOMS = (
    "common", "second_order", "views", "data", "models", "families", "forward", "attributions", "objectives", "guidance",
    "recipes", "evaluation", "training", "hub", "apps",
)  # fmt: skip
WITH_TRANSFORMERS = {"models", "training", "hub", "apps"}
IN_A_STEP = ("objectives", "attributions", "forward", "guidance")
MAX_ENTRIES, MAX_FLOORS = 15, 12


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_to_rooms_before(module):
    own = room(module)
    if own is None:
        return
    assert own in ROOMS, f"{own} has no place in ROOMS: put it after everything that it imports"
    for other in modules_imported(MODULES[module]):
        assert other != "hf_guidance", f"{module} imports from the face of the package"
        assert ROOMS.index(room(other)) <= ROOMS.index(own), f"{module} imports {other}, which comes after"
    if own == "evaluation":
        assert not any(room(other) == "recipes" for other in modules_imported(MODULES[module]))
    uses = any(name.split(".")[0] == "transformers" for name in imported(MODULES[module]))
    assert not uses or own in WITH_TRANSFORMERS, f"{module} imports transformers"


def test_there_is_no_circle_of_files():
    edges = {name: set(modules_imported(file)) - {name} for name, file in MODULES.items()}
    while free := [name for name, others in edges.items() if not others & edges.keys()]:
        for name in free:
            del edges[name]
    assert not edges, f"a circle among {sorted(edges)}"


def test_few_rooms_and_few_floors():
    entries = {module.split(".")[1] for module in MODULES if "." in module} | {"__init__"}
    assert len(entries) <= MAX_ENTRIES
    assert max(floors().values()) <= MAX_FLOORS


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_files_and_functions_are_short(file):
    text = file.read_text()
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno + 1 <= 60, f"{file.name}: {node.name}"


@pytest.mark.parametrize(
    "file",
    [f for f in FILES if f.relative_to(PACKAGE).parts[0] in IN_A_STEP],
    ids=lambda file: str(file.relative_to(PACKAGE)),
)
def test_nothing_in_a_step_waits_for_the_device(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in ("item", "cpu", "numpy", "tolist"), f"line {node.lineno}: .{node.func.attr}()"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_names_of_layers_are_compared_in_one_place(file):
    if file == PACKAGE / "views" / "layers.py":
        return
    names, constants = (
        {"input", "logits", "attention", "class_map", "final"},
        {"INPUT", "LOGITS", "ATTENTION", "CLASS_MAP", "FINAL"},
    )
    for node in ast.walk(ast.parse(file.read_text())):
        for side in (node.left, *node.comparators) if isinstance(node, ast.Compare) else ():
            for part in getattr(side, "elts", [side]):
                named = isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value in names
                assert not named, f"line {node.lineno}"
                assert getattr(part, "id", None) not in constants, f"line {node.lineno}"


def test_what_is_public_exists():
    import hf_guidance
    from hf_guidance import attributions, data, evaluation, families, forward, guidance, objectives, training, views

    for module in (
        hf_guidance, attributions, data, evaluation, families, forward, guidance, objectives, training, views,
    ):  # fmt: skip
        assert len(set(module.__all__)) == len(module.__all__)
        assert all(hasattr(module, name) for name in module.__all__)


def test_metrics_import_nothing_of_the_package():
    for file in sorted((PACKAGE.parent / "metrics").rglob("*.py")):
        assert not any(name.startswith("hf_guidance") for name in imported(file)), file


IMPORTERS = """
import builtins, sys
original, found = builtins.__import__, []
def watched(name, globals=None, *rest, **options):
    if name.split(".")[0] in ("scipy", "sklearn"):
        found.append((globals or {}).get("__name__", ""))
    return original(name, globals, *rest, **options)
builtins.__import__ = watched
import hf_guidance
print([m for m in ("scipy", "sklearn") if m in sys.modules])
import hf_guidance.training
print([name for name in found if name.startswith("hf_guidance")])
"""


def test_the_package_loads_neither_scipy_nor_scikit_learn():
    """What transformers' own modules load with its Trainer is not ours."""
    done = subprocess.run([sys.executable, "-c", IMPORTERS], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "[]"]

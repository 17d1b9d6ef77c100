"""One natural direction: a file imports only what stands above it here; and the limits of size and speed that hold."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "hf_guidance"
ORDER = (
    "whole_file", "spatial", "schema", "prepared_images", "answers", "safe_pickle", "region_files", "regions",
    "question_schema", "vqa_files", "prior_shift", "views", "targets", "normalizations", "dynamic_weights",
    "second_order", "models", "families", "batch_statistics", "capture", "runs", "gradients", "shortcuts", "batch_columns",
    "forward", "attributions", "objectives", "serialization", "guidance", "recipes", "explained_rows",
    "annotated_fraction", "controls", "row_labels", "hard_masks", "augmentation", "row_importance", "collator",
    "object_importance", "question_collator", "arguments", "resources", "explanation_scores", "grounding",
    "classification_metrics", "term_log", "first_step", "compatibility", "dataset_check", "annotation_watch",
    "evaluation_data", "trainer", "hub", "model_card", "figure", "analysis", "pareto_record", "pareto_checkpoints", "sweep",
)  # fmt: skip
WITH_TRANSFORMERS = {
    "families", "models", "collator", "arguments", "annotation_watch", "evaluation_data", "trainer", "first_step",
    "compatibility", "hub", "model_card", "pareto_checkpoints",
}  # fmt: skip
IN_A_STEP = ("objectives", "attributions", "forward", "guidance", "gradients", "runs")
FILES = sorted(PACKAGE.rglob("*.py"))


def unit(file):
    """The file or folder of the package that a file belongs to."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def only_for_types(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def imported(tree):
    """Dotted names that a module imports when it is run, those inside functions included."""
    pending, names = list(tree.body), []
    while pending:
        node = pending.pop()
        if only_for_types(node):
            pending.extend(node.orelse)
        elif isinstance(node, ast.Import):
            names.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names.extend(f"{node.module}.{alias.name}" for alias in node.names)
        else:
            pending.extend(ast.iter_child_nodes(node))
    return names


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_point_upwards(file):
    if file == PACKAGE / "__init__.py":
        return
    own = unit(file)
    assert own in ORDER, f"{file.name} has no place in ORDER: put it above everything that imports it"
    for name in imported(ast.parse(file.read_text())):
        root, *rest = name.split(".")
        if root == "hf_guidance":
            assert rest[0] in ORDER, f"{file.name} imports {name} from the package itself"
            assert rest[0] == own or ORDER.index(rest[0]) < ORDER.index(own), f"{file.name} imports {name} from below"
        if root == "transformers":
            assert own in WITH_TRANSFORMERS, f"{file.name} imports transformers"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_files_and_functions_are_short(file):
    text = file.read_text()
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno + 1 <= 60, f"{file.name}: {node.name}"


@pytest.mark.parametrize(
    "file", [f for f in FILES if unit(f) in IN_A_STEP], ids=lambda file: str(file.relative_to(PACKAGE))
)
def test_nothing_in_a_step_waits_for_the_device(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in ("item", "cpu", "numpy", "tolist"), f"line {node.lineno}: .{node.func.attr}()"


def test_what_is_public_exists():
    import hf_guidance
    from hf_guidance import attributions, families, objectives, views
    from hf_guidance.attributions import targets
    from hf_guidance.objectives import normalizations

    for module in (hf_guidance, attributions, families, normalizations, objectives, targets, views):
        assert len(set(module.__all__)) == len(module.__all__)
        assert all(hasattr(module, name) for name in module.__all__)


def test_metrics_import_nothing_of_the_package():
    for file in sorted((PACKAGE.parent / "metrics").rglob("*.py")):
        assert not any(name.startswith("hf_guidance") for name in imported(ast.parse(file.read_text()))), file

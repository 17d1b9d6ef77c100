"""What imports what in the package: files, the rooms that they lie in, and the floors of the rooms."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "hf_guidance"
FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = {
    ".".join(("hf_guidance", *f.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): f for f in FILES
}


def room(module):
    """The room of a module, None for the face of the package."""
    return module.split(".")[1] if "." in module else None


def imported(file):
    """Dotted names that a file imports anywhere: in functions and for types, too."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules_imported(file):
    """The modules of the package among them."""
    for name in imported(file):
        owner = name if name in MODULES else name.rpartition(".")[0]
        if owner in MODULES:
            yield owner


def rooms_imported():
    """Room to the rooms that it imports."""
    edges = {room(module): set() for module in MODULES if room(module)}
    for module, file in MODULES.items():
        if room(module):
            edges[room(module)] |= {room(other) for other in modules_imported(file)} - {room(module), None}
    return edges


def floors():
    """Room to its floor: 1 where it imports no other, else one above the highest that it imports."""
    edges, found = rooms_imported(), {}
    while len(found) < len(edges):
        free = {name for name, others in edges.items() if name not in found and others <= found.keys()}
        assert free, f"a circle among {sorted(edges.keys() - found.keys())}"
        found |= {name: 1 + max((found[other] for other in edges[name]), default=0) for name in free}
    return found

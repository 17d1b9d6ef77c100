"""Several modules of this library as one file that needs none of it.

Modules are put one after another, each after those that it imports, with their text as it is. Imports of this library are
dropped. A name that two modules define is made longer by the name of its module, wherever it is used.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

_OWN = __name__.partition(".")[0]


def one_file(roots: Iterable[str], docstring: str, stubs: Mapping[str, str], missing: str) -> str:
    """Write modules and all that they import of this library as the text of one module.

    Args:
        roots: Names of the modules.
        docstring: Docstring of the file.
        stubs: Name of a module to leave out -> the text that stands for it.
        missing: The error where another library is missing or too old.

    Returns:
        The text; the same for the same modules.

    Raises:
        ValueError: The modules import this library in another form than ``from hf_guidance.module import name`` at the top, or
            use one name for several things of other libraries.
    """
    modules: dict[str, _Module] = {}
    for root in roots:
        _collect(root, modules, stubs)
    finals = _final_names(modules.values())
    head = [f'"""{docstring.strip()}\n"""', "from __future__ import annotations", *_imports(modules.values(), missing)]
    parts = ["\n\n".join(head)]
    used = [name for name in stubs if any(name in module.own_modules for module in modules.values())]
    parts += [stubs[name].strip() for name in used]
    parts += [module.rewritten(finals) for module in modules.values()]
    text = "\n\n\n".join(parts) + "\n"
    ast.parse(text)
    return text


@dataclass(frozen=True, order=True)
class _Import:
    local: str  # the name that it has here
    module: str
    name: str  # in the module; "" for the module itself

    @property
    def is_standard(self) -> bool:
        return self.module.partition(".")[0] in sys.stdlib_module_names


@dataclass(frozen=True)
class _Module:
    name: str
    text: str
    tree: ast.Module

    @property
    def own_imports(self) -> Iterator[tuple[str, str, str]]:
        """Module, name there, and name here of what is imported of this library."""
        for statement in self.tree.body:
            if isinstance(statement, ast.ImportFrom) and _is_own(statement.module):
                yield from (
                    (str(statement.module), alias.name, alias.asname or alias.name) for alias in statement.names
                )

    @property
    def own_modules(self) -> list[str]:
        return [module for module, _, _ in self.own_imports]

    @property
    def defined(self) -> list[str]:
        names = []
        for statement in self.tree.body:
            if isinstance(statement, ast.FunctionDef | ast.ClassDef):
                names.append(statement.name)
            elif isinstance(statement, ast.Assign | ast.AnnAssign):
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                names += [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
        return [name for name in dict.fromkeys(names) if name != "__all__"]

    @property
    def outside(self) -> Iterator[_Import]:
        """What comes from other libraries."""
        for statement in self.tree.body:
            if isinstance(statement, ast.Import):
                yield from (_Import(alias.asname or alias.name, alias.name, "") for alias in statement.names)
            elif isinstance(statement, ast.ImportFrom) and not _is_own(statement.module):
                module = str(statement.module)
                yield from (_Import(alias.asname or alias.name, module, alias.name) for alias in statement.names)

    def rewritten(self, finals: Mapping[tuple[str, str], str]) -> str:
        """The text without its imports, with the final names, below a line that says where it comes from."""
        here = {name: finals[self.name, name] for name in self.defined}
        here |= {local: finals.get((module, name), name) for module, name, local in self.own_imports}
        lines = self._renamed({name: final for name, final in here.items() if name != final})
        for statement in self.tree.body:
            if isinstance(statement, ast.Import | ast.ImportFrom) or _is_docstring(statement) or _is_all(statement):
                lines[statement.lineno - 1 : statement.end_lineno] = [""] * (_end(statement) - statement.lineno + 1)
        about = [f"# {line}".rstrip() for line in (ast.get_docstring(self.tree) or "").splitlines()]
        return "\n".join([f"# {'-' * 8} {self.name}", *about]) + "\n\n\n" + "\n".join(lines).strip("\n")

    def _renamed(self, new: Mapping[str, str]) -> list[str]:
        lines = [line.encode() for line in self.text.splitlines()]  # positions of the tree count bytes
        for line, start, old in sorted(self._uses(new), reverse=True):
            whole = lines[line]
            if whole[start : start + len(old.encode())] != old.encode():
                raise ValueError(
                    f"{self.name}, line {line + 1}: two modules define {old}, and it cannot be renamed here."
                )
            lines[line] = whole[:start] + new[old].encode() + whole[start + len(old.encode()) :]
        return [line.decode() for line in lines]

    def _uses(self, new: Mapping[str, str]) -> Iterator[tuple[int, int, str]]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Name) and node.id in new:
                yield node.lineno - 1, node.col_offset, node.id
            elif isinstance(node, ast.arg) and node.arg in new:
                raise ValueError(
                    f"{self.name}: an argument is called {node.arg}, as something that two modules define."
                )
            elif isinstance(node, ast.FunctionDef | ast.ClassDef) and node in self.tree.body and node.name in new:
                keyword = b"class " if isinstance(node, ast.ClassDef) else b"def "
                yield node.lineno - 1, node.col_offset + len(keyword), node.name


def _collect(name: str, found: dict[str, _Module], stubs: Mapping[str, str]) -> None:
    if name in found or name in stubs:
        return
    module = _read(name)
    for other in module.own_modules:
        _collect(other, found, stubs)
    found[name] = module  # after those that it imports


def _read(name: str) -> _Module:
    spec = find_spec(name)
    source: Any = spec.loader if spec else None
    text = source.get_source(name)
    tree = ast.parse(text)
    for node in ast.walk(tree):
        plain = isinstance(node, ast.Import) and any(_is_own(alias.name) for alias in node.names)
        inside = isinstance(node, ast.ImportFrom) and (_is_own(node.module) or node.level) and node not in tree.body
        if plain or inside:
            raise ValueError(
                f"{name} imports {_OWN} as a whole or in a function; write `from ... import name` at the top."
            )
    return _Module(name, text, tree)


def _final_names(modules: Iterable[_Module]) -> dict[tuple[str, str], str]:
    modules = list(modules)
    count = Counter(name for module in modules for name in module.defined)
    count.update({entry.local for module in modules for entry in module.outside})
    return {
        (module.name, name): f"{name}_of_{module.name.rpartition('.')[2]}" if count[name] > 1 else name
        for module in modules
        for name in module.defined
    }


def _imports(modules: Iterable[_Module], missing: str) -> Iterator[str]:
    found: dict[str, _Import] = {}
    for entry in sorted({entry for module in modules for entry in module.outside}):
        if found.setdefault(entry.local, entry) != entry:
            raise ValueError(
                f"{entry.local} stands for two things: {found[entry.local]} and {entry}; call one otherwise."
            )
    future = [entry for entry in found.values() if entry.module == "__future__"]
    known = [entry for entry in found.values() if entry.is_standard and entry not in future]
    others = [entry for entry in found.values() if not entry.is_standard]
    if known:
        yield "\n".join(_statements(known))
    if others:
        tried = "\n".join(f"    {statement}" for statement in _statements(others))
        yield f"try:\n{tried}\nexcept ImportError as error:\n    raise ImportError({missing!r}) from error"


def _statements(entries: Iterable[_Import]) -> list[str]:
    plain, by_module = [], dict[str, list[str]]()
    for entry in sorted(entries):
        renamed = "" if entry.local == (entry.name or entry.module) else f" as {entry.local}"
        if entry.name:
            by_module.setdefault(entry.module, []).append(entry.name + renamed)
        else:
            plain.append(f"import {entry.module}{renamed}")
    return plain + [f"from {module} import {', '.join(names)}" for module, names in sorted(by_module.items())]


def _is_own(module: str | None) -> bool:
    return module is not None and (module == _OWN or module.startswith(f"{_OWN}."))


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and statement.lineno == 1


def _is_all(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Assign) and any(
        getattr(target, "id", "") == "__all__" for target in statement.targets
    )


def _end(statement: ast.stmt) -> int:
    return statement.end_lineno or statement.lineno

"""Every room and every name of the package has its place in the reference."""

from pathlib import Path
from types import SimpleNamespace

import yaml
from pages import ROOT

import hf_guidance

NOT_SHOWN = {"common", "apps"}  # no library: what people run, and what the rooms share


def nav(entry):
    if isinstance(entry, dict):
        return [page for value in entry.values() for page in nav(value)]
    return [page for one in entry for page in nav(one)] if isinstance(entry, list) else [entry]


def test_every_page_and_every_room_is_in_the_navigation():
    listed = nav(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert sorted(listed) == sorted(str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md"))
    rooms = {folder.parent.name for folder in Path(hf_guidance.__file__).parent.glob("*/__init__.py")} - NOT_SHOWN
    assert {Path(page).stem for page in listed if page.startswith("reference/")} == rooms | {"hf_guidance"}


def test_every_name_of_the_package_is_listed(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tests" / "tools")
    import docs_names

    page = SimpleNamespace(file=SimpleNamespace(src_uri=docs_names.PAGE))
    lines = docs_names.on_page_markdown("text", page).splitlines()
    listed = [line.split("`")[1] for line in lines if line.startswith(("| `", "| [`"))]
    assert sorted(listed) == sorted(hf_guidance.__all__)
    assert all(line.count("|") == 3 and "||" not in line.replace(" ", "") for line in lines[4:])
    assert docs_names.on_page_markdown("text", SimpleNamespace(file=SimpleNamespace(src_uri="index.md"))) == "text"

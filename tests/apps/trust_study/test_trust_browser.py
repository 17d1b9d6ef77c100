"""The page of a trust study in a browser, by the keyboard."""

import sqlite3

import pytest
from asked import Page, Person
from comparisons import comparison_folder

from hf_guidance.apps.annotation.store import AnswerStore
from hf_guidance.apps.trust_study import ComparisonFolder, study_preference

COUNT = 8


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    pytest.importorskip("gradio", reason="the page needs the extra annotate")
    folder = comparison_folder(tmp_path_factory.mktemp("page") / "trust", COUNT)
    found = Page(folder, command="trust-study")
    yield found
    found.kill()


def better_side(person):
    """1 or 2: which model's maps are red at the bottom right, read from the pictures that the page shows."""
    return person.window.evaluate(
        """async () => {
            const red = [];
            for (const image of document.querySelectorAll('#pictures .headed figure:first-child img')) {
                await image.decode();
                const canvas = document.createElement('canvas');
                [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
                const context = canvas.getContext('2d');
                context.drawImage(image, 0, 0);
                const [w, h] = [canvas.width / 4 | 0, canvas.height / 4 | 0];
                const redness = (x, y) => {
                    const cells = context.getImageData(x, y, w, h).data;
                    let sum = 0;
                    for (let i = 0; i < cells.length; i += 4) sum += cells[i] - (cells[i + 1] + cells[i + 2]) / 2;
                    return sum;
                };
                red.push(redness(canvas.width - w, canvas.height - h) - redness(0, 0));
            }
            return red[0] > red[1] ? 1 : 2;
        }"""
    )


def test_two_raters_by_the_keyboard(browser, page):
    sides = {}
    for name, keys in (("anna", {1: "1", 2: "5"}), ("ben", {1: "2", 2: "4"})):
        person = Person(browser, page.address, name)
        while person.item is not None:
            side = better_side(person)
            sides.setdefault(name, []).append(side)
            person.press(keys[side])
        assert person.done == COUNT
        person.window.close()
    assert all(given.count(1) == given.count(2) == COUNT // 2 for given in sides.values()), "balanced for each"
    items = ComparisonFolder(page.folder)
    with AnswerStore(page.folder / "answers.sqlite", items.fingerprint, COUNT, items.scale, read_only=True) as store:
        assert store.columns() == {"anna": ["2"] * COUNT, "ben": ["1"] * COUNT}
        found = study_preference(items, store, samples=100)
    assert (found.prefer_second.mean, found.prefer_shown_first) == (1.0, 0.5)


def test_no_name_of_a_model_is_on_the_page(browser, page):
    person = Person(browser, page.address, "clara")
    content = person.window.content()
    assert "Model 1" in content
    assert "a fork beside" in content
    assert "the whole caption" in content
    for name in ("unguided", "hint"):
        assert name not in content
    assert person.window.title() == "Which model looks at more reasonable places?"
    assert person.window.inner_text("#answer--2") == "Model 1 clearly (1)"
    assert person.window.inner_text("#answer-0") == "Equal (3)"


def test_a_change_of_mind(browser, page):
    person = Person(browser, page.address, "dora")
    first, side = person.item, better_side(person)
    person.press("1")
    person.press("b")
    assert (person.item, better_side(person)) == (first, side), "the same side"
    assert "You said model 1 clearly" in person.window.inner_text("#progress")
    person.press("3")
    base = sqlite3.connect(f"file:{page.folder / 'answers.sqlite'}?mode=ro", uri=True)
    assert base.execute("SELECT answer FROM answers WHERE annotator = 'dora'").fetchall() == [("0",)]
    kept = base.execute("SELECT answer FROM log WHERE annotator = 'dora' ORDER BY number").fetchall()
    base.close()
    assert kept == [("2" if side == 1 else "-2",), ("0",)]


def test_keys_of_the_other_page_do_nothing(browser, page):
    person = Person(browser, page.address, "eve")
    for key in "ynu":
        person.window.keyboard.press(key)
    person.window.wait_for_timeout(500)
    assert person.done == 0

"""The page in a browser: Debian's chromium, driven by Playwright."""

import random
import sqlite3
import threading

import pytest
from asked import Person, kept

KEYS = {"y": "yes", "n": "no", "u": "maybe"}
COUNT = 30


def answer(person, said, draw, until):
    """Answer by the keyboard; ``said`` gets what the page confirmed by showing the next one."""
    while person.done < until and (item := person.item) is not None:
        key = draw.choice("ynu")
        person.press(key)
        said[item] = KEYS[key]


def test_thirty_answers_with_a_kill_in_the_middle(browser, opened):
    page, said, draw = opened(count=COUNT), {}, random.Random(0)
    person = Person(browser, page.address, "anna")
    answer(person, said, draw, 10)
    threading.Timer(0.35, page.kill).start()  # kill -9 while answers are on their way
    person.window.set_default_timeout(3000)
    with pytest.raises(Exception, match="Timeout"):
        answer(person, said, draw, COUNT)
    assert page.process.wait(10) == -9
    assert 10 <= len(said) < COUNT
    after_kill = {item: word for (_, item), word in kept(page.folder)[0].items()}
    assert said.items() <= after_kill.items(), "an answer that the page had gone on from is lost"
    assert len(after_kill) <= len(said) + 1, "the one that was on its way may be there"
    person.window.goto("about:blank")  # or the tab reloads itself once its server is back, while the test does, too
    opened(port=page.port)
    person.window.set_default_timeout(20_000)
    person.window.goto(page.address)  # the tab still knows its name
    person.window.wait_for_selector("#question")
    assert person.done == len(after_kill)
    answer(person, said, draw, COUNT)
    answers, entries = kept(page.folder)
    assert len(answers) == entries == COUNT, "none lost, none counted twice"
    assert said.items() <= {item: word for (_, item), word in answers.items()}.items()
    assert "All are answered" in person.window.inner_text("#question")


def test_two_browsers_at_once(browser, page):
    people = {name: Person(browser, page.address, name) for name in ("two-anna", "two-ben")}
    said = {name: {} for name in people}
    for number in range(12):
        for name, person in people.items():
            item, key = person.item, "ynu"[number % 3]
            person.press(key)
            said[name][item] = KEYS[key]
    for name in people:
        assert kept(page.folder, name) == ({(name, item): word for item, word in said[name].items()}, 12)
    assert list(said["two-anna"]) != list(said["two-ben"]), "each has an order of their own"
    third = Person(browser, page.address)
    third.window.fill("#name input, #name textarea", "two-anna")
    third.window.click("#start")
    third.window.wait_for_selector("text=is answering in another browser tab")
    people["two-anna"].window.close()  # its name is free then
    third.window.wait_for_timeout(2000)
    third.enter("two-anna")
    assert third.done == 12


def test_reloads_and_double_clicks_count_once(browser, page):
    person = Person(browser, page.address, "once")
    first = person.item
    person.window.dblclick("#answer-yes")
    person.window.wait_for_timeout(1000)
    assert (person.done, kept(page.folder, "once")) == (1, ({("once", first): "yes"}, 1))
    second = person.item
    person.window.reload()
    person.window.wait_for_selector("#question")
    assert (person.item, person.done) == (second, 1)
    person.press("b")
    assert person.item == first
    assert "You said yes" in person.window.inner_text("#progress")
    person.press("n")
    assert (person.item, person.done) == (second, 1)
    assert kept(page.folder, "once") == ({("once", first): "no"}, 2)


def test_keys_in_a_text_field_are_text(browser, page):
    person = Person(browser, page.address)
    person.window.click("#name input, #name textarea")
    person.window.keyboard.type("yun")
    person.window.keyboard.press("Enter")
    person.window.wait_for_selector("#question")
    assert person.window.get_attribute("#question", "data-name") == "yun"
    assert person.done == 0


def test_boxes_are_drawn_by_hand(browser, opened):
    pytest.importorskip("gradio_image_annotation", reason="boxes are drawn by its component")
    page = opened("--boxes", count=3)
    person = Person(browser, page.address, "anna")
    canvas = person.window.locator("#boxes canvas")
    canvas.wait_for()
    person.window.wait_for_function("document.querySelector('#boxes canvas').clientHeight > 100")
    person.window.wait_for_timeout(500)
    place, mouse, scale = canvas.bounding_box(), person.window.mouse, 560 / 128
    middle = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    mouse.move(middle[0] - 60, middle[1] - 40)
    mouse.down()
    mouse.move(*middle, steps=4)
    mouse.move(middle[0] + 80, middle[1] + 20, steps=4)
    mouse.up()
    person.press("n")
    base = sqlite3.connect(f"file:{page.folder / 'answers.sqlite'}?mode=ro", uri=True)
    ((word, boxes),) = base.execute("SELECT answer, boxes FROM answers").fetchall()
    base.close()
    expected = [64 - 60 / scale, 48 - 40 / scale, 64 + 80 / scale, 48 + 20 / scale]
    assert word == "no"
    assert [float(side) for side in boxes.strip("[]").split(",")] == pytest.approx(expected, abs=1)
    person.press("b")
    person.window.wait_for_timeout(500)
    person.press("y")
    base = sqlite3.connect(f"file:{page.folder / 'answers.sqlite'}?mode=ro", uri=True)
    assert base.execute("SELECT answer, boxes != '[]' FROM answers").fetchall() == [("yes", 1)], "boxes are kept"
    base.close()

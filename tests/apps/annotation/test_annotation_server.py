"""The page as a process, without a browser: nothing lost, nothing twice, nothing read that it must not read."""

import random
import signal
import threading
import urllib.error
import urllib.parse
import urllib.request

import pytest
from asked import Client, Space, kept

from hf_guidance.apps.annotation import write_space

WORDS = ("yes", "no", "maybe")
FORM = {"Content-Type": "multipart/form-data; boundary=x"}


def answer_all(page, name, said):
    """Answer until the end; ``said`` gets what the page confirmed by showing the next one."""
    client, words = Client(page, name), random.Random(name)
    item, _, _ = client.press("start")
    while item is not None:
        word = words.choice(WORDS)
        shown, _, _ = client.press(f"answer-{word}", item)
        said[name, item], item = word, shown


def test_a_thousand_answers_at_full_speed(page):
    said = {}
    people = [threading.Thread(target=answer_all, args=(page, name, said)) for name in ("fast-1", "fast-2")]
    for person in people:
        person.start()
    for person in people:
        person.join(120)
    assert len(said) == 1000
    assert kept(page.folder, "fast%") == (said, 1000)
    figures = Client(page, "fast-1").press("figures")[2]
    assert "Krippendorff" in figures
    assert "<td>fast-1 and fast-2</td><td>500</td>" in figures


def test_sent_twice_counts_once_and_an_old_tab_is_told(page):
    client = Client(page, "twice")
    first, _, _ = client.press("start")
    second, done, _ = client.press("answer-yes", first)
    assert done == 1
    again, done, html = client.press("answer-yes", first)
    assert (again, done, "not counted" in html) == (second, 1, False)
    again, done, html = client.press("answer-no", first)
    assert (again, done, "not counted" in html) == (second, 1, True)
    back, _, html = client.press("answer-back", second)
    assert (back, "You said yes" in html) == (first, True)
    client.press("answer-no", first)
    assert kept(page.folder, "twice") == ({("twice", first): "no"}, 2)


@pytest.mark.parametrize("item", ["99999", "-1", "x' OR 1", "²", None, 1e300])
def test_items_that_are_none(page, item):
    client = Client(page, "none")
    shown, _, _ = client.press("start")
    assert client.press("answer-yes", **{"item": item})[:2] == (shown, 0)
    assert kept(page.folder, "none") == ({}, 0)


def test_two_with_one_name_at_once(page):
    first, second = Client(page, "same"), Client(page, "same")
    second.tab = second.session = "another"
    shown, _, _ = first.press("start")
    assert "is answering in another browser tab" in second.press("start")[2]
    with pytest.raises(urllib.error.HTTPError):
        second.press("answer-yes", shown)
    assert kept(page.folder, "same") == ({}, 0)


def test_names_are_shown_as_text(page):
    client = Client(page, "<img src=x onerror=alert(1)>")
    html = client.press("start")[2]
    assert "<img src=x" not in html
    assert "&lt;img src=x" in html


def test_files_cannot_be_read(page):
    folder = page.folder
    secrets = ["/etc/passwd", f"{folder}/answers.sqlite", f"{folder}/images/0.png", f"{folder}/maps.npy", "README.md"]
    secrets += ["../../../../etc/passwd", f"{folder}/../asked/items.json", "pyproject.toml", str(folder)]
    for secret in secrets:
        for name in {secret, urllib.parse.quote(secret, safe=""), secret.replace("..", "%2e%2e")}:
            for route in (
                "/gradio_api/file=",
                "/file=",
                "/gradio_api/file/",
                "/static/",
                "/assets/",
                "/gradio_api/stream/",
            ):
                assert page.status(route + name) in (400, 403, 404, 405, 500), route + name


def test_uploads_are_refused(page):
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\n'
    for size in (10, 10_000, 300_000):
        assert page.status("/gradio_api/upload", head + b"a" * size + b"\r\n--x--\r\n", **FORM) in (413, None)
    assert page.status("/") == 200


def test_it_listens_at_this_computer_only(page):
    with open("/proc/net/tcp") as tcp, open("/proc/net/tcp6") as tcp6:
        ours = [line.split()[1] for line in [*tcp, *tcp6] if f":{page.port:04X} " in line and line.split()[3] == "0A"]
    assert ours == [f"0100007F:{page.port:04X}"]


def test_a_password_is_asked_for(opened):
    page = opened("--password", "swordfish", "--annotators", "anna,ben", count=3)
    assert page.status("/config") == 401
    assert page.status("/gradio_api/run/predict", b"{}", **{"Content-Type": "application/json"}) == 401

    def cookie_of(name, password):
        words = urllib.parse.urlencode({"username": name, "password": password}).encode()
        with urllib.request.urlopen(urllib.request.Request(page.address + "/login", words), timeout=20) as answer:
            return "; ".join(line.partition(";")[0] for line in answer.headers.get_all("set-cookie"))

    for name, password in (("anna", "wrong"), ("anna", ""), ("carl", "swordfish")):
        with pytest.raises(urllib.error.HTTPError):
            cookie_of(name, password)
    client = Client(page, "ben", cookie_of("anna", "swordfish"))
    item, _, _ = client.press("start")
    client.press("answer-yes", item)
    assert kept(page.folder)[0] == {("anna", item): "yes"}, "who logged in answers, whatever the page says"
    assert page.kill(signal.SIGTERM) == 128 + signal.SIGTERM


def test_a_space_runs_as_it_is(tmp_path, page):
    space = write_space(page.folder, tmp_path / "space", question="Is it right?")
    assert sorted(path.name for path in space.iterdir()) == ["README.md", "app.py", "items", "requirements.txt"]
    assert not (space / "items" / "answers.sqlite").exists()
    served = Space(space)
    try:
        client = Client(served, "anna")
        item, _, html = client.press("start")
        assert "Is it right?" in html
        client.press("answer-no", item)
        assert kept(space)[0] == {("anna", item): "no"}
    finally:
        served.kill()
    with pytest.raises(ValueError, match="not empty"):
        write_space(page.folder, space)

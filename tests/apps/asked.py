"""Folders to ask about, the page as a process of its own, and a browser that answers."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
from forks import Fork, module
from PIL import Image

from hf_guidance.apps.annotation import write_annotation_folder

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NO_BROWSER = "no chromium on this computer: apt-get install chromium"


def maps_folder(folder: Path, count: int = 40) -> Path:
    """Small images with random maps."""
    numbers = np.random.default_rng(0)
    rows = [
        {"image": Image.fromarray(numbers.integers(0, 256, (96, 128, 3), np.uint8)), "image_id": f"image-{row}"}
        for row in range(count)
    ]
    return write_annotation_folder(rows, numbers.random((count, 7, 7)).astype(np.float32), folder)


class Page:
    """``hf-guidance annotate``, or another command that opens a page, as a process.

    Args:
        folder: What is asked about.
        *options: Words of the command line.
        port: Where; None for a free one.
        command: The command.
    """

    def __init__(self, folder: Path, *options: str, port: int | None = None, command: str = "annotate") -> None:
        self.folder, self.port = folder, port or free_port()
        import hf_guidance.apps.annotation.page  # noqa: F401  # Gradio takes eight seconds, in every copy otherwise

        self._open(Fork(module("hf_guidance.apps.cli", command, folder, "--port", self.port, *options)))

    def _open(self, process: Fork | subprocess.Popen) -> None:
        self.address, self.process = f"http://127.0.0.1:{self.port}", process
        limit = time.monotonic() + 90
        while self.status("/") is None:
            if self.process.poll() is not None or time.monotonic() > limit:
                self.kill()
                raise AssertionError(f"the page did not open: {getattr(process, 'err', process)}")
            time.sleep(0.1)

    def status(self, path: str, data: bytes | None = None, **headers: str) -> int | None:
        """Status of an answer; None where nobody answers."""
        request = urllib.request.Request(self.address + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                answer.read()
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def kill(self, number: int = signal.SIGKILL) -> int:
        """End the process by a signal, by default the one that it cannot see."""
        self.process.send_signal(number)
        return self.process.wait(30)


class Space(Page):
    """app.py of a Space as a process, with what the Hub sets, which Gradio reads when it is imported."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        hub = {"GRADIO_SERVER_PORT": str(self.port), "GRADIO_SERVER_NAME": "0.0.0.0"}
        self._open(subprocess.Popen([sys.executable, folder / "app.py"], env=os.environ | hub))


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def kept(folder: Path, name: str = "%") -> tuple[dict[tuple[str, int], str], int]:
    """Answers of a folder, or of names that are LIKE one, as (annotator, item) to word; and the entries of the log."""
    base = sqlite3.connect(f"file:{folder / 'answers.sqlite'}?mode=ro", uri=True)
    try:
        rows = base.execute("SELECT annotator, item, answer FROM answers WHERE annotator LIKE ?", (name,))
        answers = {(who, item): word for who, item, word in rows}
        return answers, base.execute("SELECT count(*) FROM log WHERE annotator LIKE ?", (name,)).fetchone()[0]
    finally:
        base.close()


class Client:
    """Sends what the script of the page sends, as fast as it can.

    Args:
        page: The page.
        name: Who answers.
        cookie: Of somebody who logged in.
    """

    def __init__(self, page: Page, name: str, cookie: str = "") -> None:
        self._address, self.name, self._cookie = page.address, name, cookie
        self.session = self.tab = f"client-{name}"
        config = json.loads(self._call("/config"))
        ids = {part["props"].get("elem_id"): part["id"] for part in config["components"]}
        self._events = {
            word: event["id"]
            for event in config["dependencies"]
            for word in ("start", "answer-yes", "answer-no", "answer-maybe", "answer-back", "figures")
            if [ids[word], "click"] in [list(target) for target in event["targets"]]
        }

    def _call(self, path: str, sent: dict | None = None) -> str:
        data = None if sent is None else json.dumps(sent).encode()
        headers = {"Content-Type": "application/json", "Cookie": self._cookie}
        with urllib.request.urlopen(urllib.request.Request(self._address + path, data, headers), timeout=30) as answer:
            return answer.read().decode()

    def press(self, button: str, item: int | None = None, **more: object) -> tuple[int | None, int, str]:
        """Press a button; which item is shown afterwards, how many answers the page says were given, and its HTML."""
        carried = json.dumps({"name": self.name, "tab": self.tab, "item": "" if item is None else str(item), **more})
        inputs = {"start": [carried], "figures": []}.get(button, [carried, None])
        sent = {"data": inputs, "fn_index": self._events[button], "session_hash": self.session}
        found = json.loads(self._call("/gradio_api/run/predict", sent))["data"]
        html = json.dumps(found)
        shown = re.search(r'data-item=\\"(\d*)\\".*?data-done=\\"(\d+)\\"', html)
        return (int(shown[1]) if shown and shown[1] else None, int(shown[2]) if shown else -1, html)


class Person:
    """A browser window at the page.

    Args:
        browser: Of Playwright.
        address: Of the page.
        name: Who sits there; None leaves the page as it is opened.
    """

    def __init__(self, browser, address: str, name: str | None = None) -> None:
        self.window = browser.new_page(viewport={"width": 1100, "height": 1100})
        self.window.set_default_timeout(20_000)
        self.window.goto(address)
        if name is not None:
            self.enter(name)

    def enter(self, name: str) -> None:
        """Give a name and wait for the first question."""
        self.window.fill("#name input, #name textarea", name)
        self.window.click("#start")
        self.window.wait_for_selector("#question")

    @property
    def item(self) -> int | None:
        """Which item is shown; None where all are answered."""
        found = self.window.get_attribute("#question", "data-item")
        return int(found) if found else None

    @property
    def done(self) -> int:
        """How many answers the page says were given."""
        return int(self.window.get_attribute("#question", "data-done"))

    def press(self, key: str) -> None:
        """Press a key and wait until another image is shown."""
        before = self.window.get_attribute("#question", "data-item")
        self.window.keyboard.press(key)
        self.window.wait_for_function(
            "before => document.querySelector('#question').dataset.item !== before", arg=before
        )

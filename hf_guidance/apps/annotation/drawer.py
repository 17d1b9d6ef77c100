"""Drawer: the pictures of items, as addresses that hold them, made ready while people look at the item before."""

from __future__ import annotations

import base64
import io
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from PIL import Image

from hf_guidance.apps.annotation.items.item import Items

__all__ = ["Drawer", "Drawn"]

_KEPT = 8


class Drawn(NamedTuple):
    """An item as the page shows it.

    Attributes:
        question: What is asked.
        text: What is said of the image.
        groups: Headings, each with captions and addresses of pictures.
    """

    question: str
    text: str
    groups: list[tuple[str, list[tuple[str, str]]]]


class Drawer:
    """Pictures of items as addresses that hold them (data:image/jpeg), so that the page serves no file.

    What comes next is drawn while people look at what is there.

    Args:
        items: All items.
    """

    def __init__(self, items: Items) -> None:
        self._items, self._lock = items, threading.Lock()
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="drawing")
        self._ready: dict[tuple[int, bool], Future[Drawn]] = {}

    def __call__(self, place: int, swapped: bool = False) -> Drawn:
        """An item as it is shown.

        Args:
            place: Which item.
            swapped: Whether two things that are compared change places.

        Raises:
            ValueError: Its image cannot be read.
        """
        return self._asked(place, swapped).result()

    def prepare(self, place: int, swapped: bool = False) -> None:
        """Draw an item that will be shown soon."""
        self._asked(place, swapped)

    def close(self) -> None:
        """Stop drawing."""
        self._pool.shutdown(cancel_futures=True)

    def _asked(self, place: int, swapped: bool) -> Future[Drawn]:
        with self._lock:
            if (place, swapped) not in self._ready:
                while len(self._ready) >= _KEPT:
                    self._ready.pop(next(iter(self._ready)))
                self._ready[place, swapped] = self._pool.submit(self._drawn, place, swapped)
            return self._ready[place, swapped]

    def _drawn(self, place: int, swapped: bool) -> Drawn:
        item = self._items[place]
        groups = [
            (heading, [(caption, _address(image)) for caption, image in pictures])
            for heading, pictures in item.groups(swapped)
        ]
        return Drawn(item.question, item.text, groups)


def _address(image: Image.Image) -> str:
    written = io.BytesIO()
    image.save(written, "JPEG", quality=90)
    return f"data:image/jpeg;base64,{base64.b64encode(written.getvalue()).decode()}"

"""What the page shows of an item: the image, the map over it, the map alone in red; or the image with the patch."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from hf_guidance.apps.annotation.items import Item, Items

__all__ = ["Drawer", "heat", "pictures"]

SIDE = 320  # pixels of the longer side of a picture on the page
_KEPT = 8
Drawn = tuple[list[tuple[str, str]], str]


def heat(values: npt.NDArray[np.floating[Any]], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """A map at the size of a picture, in [0, 1]: max(m, 0) / max(m), resized; all zero where no value is above zero.

    Args:
        values: (h, w) numbers; those that are not finite count as zero.
        size: (width, height) of the picture.

    Returns:
        (height, width) float32.
    """
    positive = np.clip(np.where(np.isfinite(values), values, 0), 0, None).astype(np.float32)
    top = float(positive.max())
    scaled = positive / top if top > 0 else positive
    large: npt.NDArray[np.float32] = np.asarray(Image.fromarray(scaled).resize(size, Image.Resampling.BILINEAR))
    return large.clip(0, 1)


def pictures(item: Item) -> list[tuple[str, Image.Image]]:
    """The pictures of one item, each with its caption.

    Args:
        item: What is asked about.

    Returns:
        Captions and RGB images, none larger than 320 pixels.
    """
    image = item.image
    scale = SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    if item.box is not None:
        return [("the image", small), ("the patch", _with_box(small, [side * scale for side in item.box]))]
    assert item.map is not None  # folders have one of the two
    share = heat(item.map, size)[..., None]
    red = np.zeros((*share.shape[:2], 3), np.float32)
    red[..., 0] = 255
    over = np.asarray(small, np.float32) * (1 - 0.6 * share) + red * (0.6 * share)
    return [
        ("the image", small),
        ("where the model looks", Image.fromarray(over.astype(np.uint8))),
        ("the map alone", Image.fromarray((red * share).astype(np.uint8))),
    ]


def _with_box(image: Image.Image, box: Sequence[float]) -> Image.Image:
    drawn = image.copy()
    left, top, right, bottom = (round(side) for side in box)
    ImageDraw.Draw(drawn).rectangle(
        (left, top, max(left, right - 1), max(top, bottom - 1)), outline=(255, 0, 0), width=3
    )
    return drawn


class Drawer:
    """Pictures of items as addresses that hold them (data:image/jpeg), so that the page serves no file.

    What comes next is drawn while people look at what is there.

    Args:
        items: All items.
    """

    def __init__(self, items: Items) -> None:
        self._items, self._lock = items, threading.Lock()
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="drawing")
        self._ready: dict[int, Future[Drawn]] = {}

    def __call__(self, place: int) -> Drawn:
        """Captions and addresses of the pictures of an item, and its question.

        Raises:
            ValueError: Its image cannot be read.
        """
        return self._asked(place).result()

    def prepare(self, place: int) -> None:
        """Draw an item that will be shown soon."""
        self._asked(place)

    def close(self) -> None:
        """Stop drawing."""
        self._pool.shutdown(cancel_futures=True)

    def _asked(self, place: int) -> Future[Drawn]:
        with self._lock:
            if place not in self._ready:
                while len(self._ready) >= _KEPT:
                    self._ready.pop(next(iter(self._ready)))
                self._ready[place] = self._pool.submit(self._drawn, place)
            return self._ready[place]

    def _drawn(self, place: int) -> Drawn:
        item = self._items[place]
        return [(caption, _address(image)) for caption, image in pictures(item)], item.question


def _address(image: Image.Image) -> str:
    written = io.BytesIO()
    image.save(written, "JPEG", quality=90)
    return f"data:image/jpeg;base64,{base64.b64encode(written.getvalue()).decode()}"

"""Who sits at the page: one browser tab a name."""

from __future__ import annotations

import threading
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from hf_guidance.apps.annotation.items.item import Items
from hf_guidance.apps.annotation.order import drawn_order, drawn_sides
from hf_guidance.apps.annotation.sitting import Sitting
from hf_guidance.apps.annotation.store import AnswerStore

__all__ = ["Desk"]

_LONGEST = 40


@dataclass
class _Seat:
    sitting: Sitting
    tab: str
    seen: float
    session: str


class Desk:
    """Gives each annotator their sitting, and refuses a name that is in use in another tab.

    A tab is told by a random word that it keeps when it is loaded anew, so that a reload is no second annotator. A name is free
    again when its tab is closed, or was still for some time.

    Args:
        items: What is asked about.
        store: Where answers go.
        seed: Of the orders.
        annotators: The names that are allowed; None for any.
        idle: Seconds after which another tab may take a name.

    Raises:
        ValueError: One of the names is none, or is there twice; or things are compared, and the file of answers was begun with
            another seed.
    """

    def __init__(
        self,
        items: Items,
        store: AnswerStore,
        seed: int = 0,
        annotators: Sequence[str] | None = None,
        idle: float = 900,
    ) -> None:
        self._items, self._store, self._seed, self._idle = items, store, seed, idle
        self._allowed = None if annotators is None else [_cleaned(name) for name in annotators]
        if self._allowed is not None and len({name.casefold() for name in self._allowed}) < len(self._allowed):
            raise ValueError(f"annotators: {self._allowed} has a name twice; give each annotator a name of their own.")
        begun = store.remembered("seed", str(seed)) if store.scale.mirrored else str(seed)
        if begun != str(seed):
            raise ValueError(
                f"seed={seed}: {store.path} was begun with seed {begun}, by which the sides are drawn; give that one, or name "
                "another file of answers."
            )
        self._seats: dict[str, _Seat] = {}
        self.lock = threading.RLock()

    def name_of(self, given: str) -> str:
        """A name as it is kept.

        Raises:
            ValueError: It is empty, too long, none of those allowed, or differs from one that is known in capital letters only.
        """
        name = _cleaned(given)
        if self._allowed is not None and name not in self._allowed:
            raise ValueError(
                f"{name!r} is not on the list of annotators; ask for your name to be added, or check how it is written."
            )
        for known in (*self._seats, *self._store.annotators()):
            if known != name and known.casefold() == name.casefold():
                raise ValueError(f"{known!r} is known here; write the name so, or take another one.")
        return name

    def sit(self, given: str, tab: str, session: str = "") -> Sitting:
        """The sitting of an annotator.

        Args:
            given: Their name.
            tab: The random word of their browser tab.
            session: What the server calls the tab until it is closed or loaded anew.

        Raises:
            ValueError: The name cannot be used, or is in use in another tab.
        """
        with self.lock:
            name, now = self.name_of(given), time.monotonic()
            seat = self._seats.get(name)
            if seat is None:
                seat = self._seats[name] = _Seat(self._sitting(name), tab, now, session)
            elif seat.tab != tab and now - seat.seen < self._idle:
                raise ValueError(
                    f"{name!r} is answering in another browser tab. Take another name if you are somebody else; if that tab is "
                    f"yours, close it, or wait {max(1, round((self._idle - now + seat.seen) / 60))} minutes."
                )
            seat.tab, seat.seen, seat.session = tab, now, session or seat.session
            return seat.sitting

    def _sitting(self, name: str) -> Sitting:
        ids = self._items.ids
        order = drawn_order(ids, name, self._seed)
        sides = drawn_sides(order, ids, name, self._seed) if self._store.scale.mirrored else None
        return Sitting(name, order, self._store, sides)

    def leave(self, session: str) -> None:
        """A tab was closed or loaded anew: its name is free."""
        with self.lock:
            for name in [name for name, seat in self._seats.items() if seat.session == session]:
                del self._seats[name]


def _cleaned(given: str) -> str:
    name = " ".join(unicodedata.normalize("NFC", given).split())
    if not name or len(name) > _LONGEST or not name.isprintable():
        raise ValueError(f"{given[:_LONGEST]!r} is no name; give one of 1 to {_LONGEST} characters.")
    return name

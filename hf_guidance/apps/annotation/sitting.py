"""One annotator at work: which image they see, what comes next, and which answers count."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hf_guidance.apps.annotation.store import AnswerStore

__all__ = ["Sitting"]


class Sitting:
    """The places of one annotator in their order.

    Args:
        name: Who it is.
        order: (items,) the items in the order that they see them.
        store: Where answers go. It keeps what was said of two things that are compared in their own order, however they were
            shown; this class speaks of them as they are shown.
        sides: (items,) whether the two things change places, in the order of ``order``; None where nothing is compared.
    """

    def __init__(
        self,
        name: str,
        order: npt.NDArray[np.int64],
        store: AnswerStore,
        sides: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        self.name, self._order, self._store = name, order, store
        self._compares, self._swapped = sides is not None, np.zeros(len(order), bool)
        if sides is not None:
            self._swapped[order] = sides
        self._answered = np.zeros(len(order), bool)
        known = store.answers_of(name)
        self._answered[np.isin(order, list(known))] = True
        self._place = self._first_open(0)

    @property
    def shown(self) -> int | None:
        """The item that is asked about; None where all are answered."""
        return int(self._order[self._place]) if self._place < len(self._order) else None

    @property
    def next(self) -> int | None:
        """The item that will be asked about after this one, if it is known."""
        after = self._first_open(self._place + 1)
        return int(self._order[after]) if after < len(self._order) else None

    @property
    def done(self) -> int:
        """How many items they answered."""
        return int(self._answered.sum())

    def answer(self, item: int, word: str, boxes: Sequence[Sequence[float]] = ()) -> bool:
        """Keep the answer about the item that is shown, and go on to the first one without an answer.

        An answer about an item that is not shown (a second click, an old tab) does not count.

        Args:
            item: What the annotator saw.
            word: One of the scale's words, of what was shown.
            boxes: What they drew.

        Returns:
            Whether it counted.

        Raises:
            ValueError: An unknown word; nothing is kept.
        """
        if item != self.shown:
            return False
        swapped = self.swapped(item)
        self._store.put(
            item, self.name, self._store.scale.turned(word, swapped), boxes, swapped if self._compares else None
        )
        self._answered[self._place] = True
        self._place = self._first_open(0)
        return True

    def back(self) -> bool:
        """Ask about the item before the one that is shown once more.

        Returns:
            Whether there is one.
        """
        if self._place == 0:
            return False
        self._place -= 1
        return True

    def swapped(self, item: int) -> bool:
        """Whether they see two things that are compared in changed places."""
        return bool(self._swapped[item])

    def answered(self, item: int) -> str | None:
        """What they said about an item, of what they are shown."""
        word = self._store.answer_of(item, self.name)
        return None if word is None else self._store.scale.turned(word, self.swapped(item))

    def drawn(self, item: int) -> list[list[float]]:
        """The boxes that they drew on an item."""
        return self._store.drawn_on(item, self.name)

    def _first_open(self, start: int) -> int:
        rest = self._answered[start:]
        return start + int(rest.argmin()) if len(rest) and not rest.all() else len(self._order)

"""Answers to "does the model look at the right thing?": read, counted, sampled, and added to a data set as columns."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt

from hf_guidance.common.text_files import read_json
from hf_guidance.common.whole_file import whole_file
from hf_guidance.data.columns import ANSWER, SAVED_MAP
from hf_guidance.data.images.map_files import in_memory
from hf_guidance.data.images.saved_maps import SavedMaps

__all__ = [
    "WORDS",
    "AnswerCounts",
    "Answers",
    "answer_counts",
    "read_answers",
    "sampled_answers",
    "with_answers",
    "write_answers",
]

_logger = logging.getLogger(__name__)

WORDS = ("yes", "no", "maybe")
"""What people answer. A row that nobody answered has None."""


class Answers(list[str | None]):
    """A list of answers, one per map, that may know which maps they were given for.

    Args:
        words: "yes", "no", "maybe" or None.
        maps: ``SavedMaps.fingerprint`` of the maps; None where that is not known.

    Raises:
        ValueError: A word is none of these; the message names its place.
    """

    def __init__(self, words: Iterable[str | None] = (), maps: str | None = None) -> None:
        super().__init__(words)
        self.maps = maps
        for place, word in enumerate(self):
            if word is not None and (not isinstance(word, str) or word not in WORDS):
                raise ValueError(
                    f"answer {place} is {word!r:.60}; allowed: {list(WORDS)}, and None (JSON null) for none."
                )


@dataclass(frozen=True)
class AnswerCounts:
    """How often each answer was given.

    Attributes:
        yes: The model looks at the right thing: |R|, by which the relevance loss is divided.
        no: It does not: |I|, by which the irrelevance loss is divided.
        maybe: People were unsure, or disagreed.
        unanswered: Nobody was asked.
    """

    yes: int
    no: int
    maybe: int
    unanswered: int

    @property
    def relevant(self) -> int:
        """|R|."""
        return self.yes

    @property
    def irrelevant(self) -> int:
        """|I|."""
        return self.no

    def __str__(self) -> str:
        shown = f"{self.yes} yes, {self.no} no, {self.maybe} maybe, {self.unanswered} unanswered"
        lacking = [word for word, count in (("yes", self.yes), ("no", self.no)) if not count]
        return shown + "".join(f"; no {word!r}, so the loss of such answers is 0 in every step" for word in lacking)


def read_answers(path: str | os.PathLike[str]) -> Answers:
    """Read a JSON file of answers, in the order of the maps.

    Two forms are read: the paper's, a list ``["yes", "no", "maybe", null, ...]``, and ``{"maps": fingerprint, "answers":
    [...]}``, which names the maps: `with_answers` refuses it with others.

    Args:
        path: The file.

    Raises:
        ValueError: It is cut short or no JSON, has another form, or an unknown word; the message names file and place.

    Example:
        >>> answer_counts(read_answers("answers.json"))
        AnswerCounts(yes=3414, no=152, maybe=1229, unanswered=0)
    """
    content = read_json(path)
    words, maps = content, None
    if isinstance(content, dict) and content.keys() == {"maps", "answers"}:
        words, maps = content["answers"], content["maps"]
    if not isinstance(words, list) or not isinstance(maps, str | None):
        found = f"an object with {sorted(content)[:5]}" if isinstance(content, dict) else f"a {type(content).__name__}"
        raise ValueError(
            f'{path} holds {found}; allowed: a list of answers, or {{"maps": fingerprint of the maps, "answers": [...]}}.'
        )
    try:
        return Answers(words, maps)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def write_answers(path: str | os.PathLike[str], answers: Iterable[str | None]) -> None:
    """Write answers as a JSON file that `read_answers` reads; it is whole or absent.

    Args:
        path: The file.
        answers: One per map, None where nobody answered. `Answers` that know their maps are written with the fingerprint,
            others as the paper's list.

    Raises:
        ValueError: An unknown word; the message names its place.
    """
    maps = getattr(answers, "maps", None)
    words = list(Answers(answers))
    with whole_file(os.fspath(path)) as draft:
        draft.write_text(
            json.dumps(words if maps is None else {"maps": maps, "answers": words}) + "\n", encoding="utf-8"
        )


def answer_counts(answers: Iterable[str | None]) -> AnswerCounts:
    """Count the answers.

    Args:
        answers: As `read_answers` gives them, or the column ``answer`` of a data set.

    Returns:
        The counts; as text they say where "yes" or "no" is never given.

    Raises:
        ValueError: A word is unknown.

    Example:
        >>> str(answer_counts(["yes", "maybe", None]))
        "1 yes, 0 no, 1 maybe, 1 unanswered; no 'no', so the loss of such answers is 0 in every step"
    """
    words = Answers(answers)
    return AnswerCounts(words.count("yes"), words.count("no"), words.count("maybe"), words.count(None))


def sampled_answers(answers: Sequence[str | None], n: int, seed: int) -> Answers:
    """The answers as if only n of the images had been shown to people: the others become None.

    As in the released code of CRAYON (Lee et al., "Effective Guidance for Model Attention with Simple Yes-no Annotations"),
    n counts images shown, not usable answers: "maybe" may be among those that are kept. Images that were never answered are
    not shown.

    Args:
        answers: As `read_answers` gives them.
        n: Number of images shown, from 0 to the number of answers that are not None.
        seed: Of NumPy's legacy generator, a whole number from 0 to 2**32 - 1.

    Returns:
        As many entries, n of them not None; they keep the fingerprint of the maps.

    Raises:
        ValueError: ``n`` or ``seed`` is out of range, or a word is unknown.

    Example:
        >>> answer_counts(sampled_answers(answers, 480, seed=0)).unanswered
        4315
    """
    words = Answers(answers, getattr(answers, "maps", None))
    shown = [place for place, word in enumerate(words) if word is not None]
    if not _whole(n) or not 0 <= n <= len(shown):
        raise ValueError(f"n={n!r} of {len(shown)} answers; give a whole number from 0 to {len(shown)}.")
    if not _whole(seed) or not 0 <= seed < 2**32:
        raise ValueError(f"seed={seed!r} is not a whole number from 0 to 2**32 - 1, as NumPy's generator needs.")
    hidden = np.random.RandomState(seed).choice(len(shown), len(shown) - n, replace=False)
    for place in hidden:
        words[shown[place]] = None
    return words


def with_answers(dataset: Any, maps: SavedMaps, answers: Sequence[str | None], *, allow_missing: bool = False) -> Any:
    """Add the columns ``saved_map`` and ``answer``, which `YesNoCollator` reads; earlier ones are replaced.

    Rows and maps are matched by the rows' fingerprints, so rows may be shuffled or left out since the maps were made. Maps
    stay in their files, unless a ``datasets.Dataset`` has its rows in another order: then those of its rows are copied.

    Args:
        dataset: The training set: a ``datasets.Dataset``, whose transform and format stay, or another sequence of rows.
        maps: The maps of the original model.
        answers: One per map, in the order of the maps, as `read_answers` gives them.
        allow_missing: Rows without a map are unanswered, with a map of zeros, instead of an error.

    Returns:
        A ``datasets.Dataset``; of other sequences a sequence that adds the columns to a row when it is read. The log says
        how often each answer is there, as a warning where nobody said "yes" or nobody said "no".

    Raises:
        ValueError: There are fewer or more answers than maps, an unknown word, or answers that were given for other maps;
            or as `SavedMaps.positions_of`.

    Example:
        >>> train = with_answers(train, SavedMaps.from_folder("maps"), read_answers("answers.json"))
        >>> train[0]["answer"]
        'yes'
    """
    words = Answers(answers, getattr(answers, "maps", None))
    if words.maps is not None and words.maps != maps.fingerprint:
        raise ValueError(
            f"the answers were given for the maps with the fingerprint {words.maps!r}, those in {maps.folder} have "
            f"{maps.fingerprint!r}: they are of another model, attribution or data set. Ask people again, or give the maps "
            "that they saw."
        )
    if len(words) != len(maps):
        raise ValueError(
            f"there are {len(words)} answers and {len(maps)} maps in {maps.folder}; give one for each map in the same order, "
            "null in the file where nobody answered."
        )
    positions = maps.positions_of(dataset, allow_missing)
    told = [words[place] if place >= 0 else None for place in positions]
    counts = answer_counts(told)
    _logger.log(
        logging.INFO if counts.yes and counts.no else logging.WARNING, "answers of the training set: %s", counts
    )
    if not isinstance(dataset, datasets.Dataset):
        return _AnsweredRows(dataset, maps, positions, told)
    plain = dataset.with_format(None)
    plain = plain.remove_columns([name for name in (SAVED_MAP, ANSWER) if name in plain.column_names])
    joined = datasets.concatenate_datasets([plain, _columns(maps, positions, told)], axis=1, split=dataset.split)
    return _as_formatted(joined, dataset)


def _columns(maps: SavedMaps, positions: npt.NDArray[np.int64], told: list[str | None]) -> datasets.Dataset:
    if len(positions) and positions[0] >= 0 and np.array_equal(positions, positions[0] + np.arange(len(positions))):
        part = maps.rows.select(range(int(positions[0]), int(positions[-1]) + 1)).select_columns([SAVED_MAP])
    else:
        copied = np.zeros((len(positions), *maps.shape), np.float32)
        copied[positions >= 0] = maps.taken(positions[positions >= 0].tolist())
        part = in_memory(copied)
    return part.add_column(ANSWER, told, feature=datasets.Value("string"))


def _as_formatted(joined: datasets.Dataset, like: datasets.Dataset) -> datasets.Dataset:
    """With the transform or format of another data set; the new columns are given out as well."""
    given = like.format
    chosen = set(given["columns"]) != set(like.column_names)
    columns = [*(name for name in given["columns"] if name not in (SAVED_MAP, ANSWER)), SAVED_MAP, ANSWER]
    return joined.with_format(
        given["type"], columns if chosen else None, given["output_all_columns"], **given["format_kwargs"]
    )


@dataclass(frozen=True, eq=False)
class _AnsweredRows(Sequence[Any]):
    """Rows with the two columns added when they are read."""

    rows: Any
    maps: SavedMaps
    positions: npt.NDArray[np.int64]
    told: list[str | None]

    def __len__(self) -> int:
        return len(self.told)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        place = int(self.positions[index])
        found = self.maps[place] if place >= 0 else np.zeros(self.maps.shape, np.float32)
        return {**self.rows[index], SAVED_MAP: found, ANSWER: self.told[index]}


def _whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)

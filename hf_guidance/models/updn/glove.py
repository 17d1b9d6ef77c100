"""Word vectors from a GloVe text file."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

import torch
from transformers import PreTrainedModel


def load_glove(
    model: PreTrainedModel, path: str | os.PathLike[str], vocabulary: Mapping[str, int] | Sequence[str]
) -> int:
    """Set the word embedding to GloVe's vectors; words that the file lacks start at 0, as in the authors' code.

    Args:
        model: The UpDn, Pythia or SAN whose embedding is changed in place; the padding row stays as it is.
        path: Text file with one word and its numbers per line, separated by blanks.
        vocabulary: word -> row, such as ``tokenizer.get_vocab()``, or the words in the order of the rows.

    Returns:
        How many words of the vocabulary were found.

    Raises:
        ValueError: The file does not exist or is empty, a line has another width or something that is not a finite number,
            or a word has no row in the embedding.

    Example:
        >>> found = load_glove(model, "glove.6B.300d.txt", tokenizer.get_vocab())
    """
    rows = dict(vocabulary) if isinstance(vocabulary, Mapping) else {word: i for i, word in enumerate(vocabulary)}
    padding = model.config.pad_token_id
    rows = {word: row for word, row in rows.items() if row != padding}
    beyond = [word for word, row in rows.items() if not 0 <= row < model.config.vocab_size]
    if beyond or not rows:
        raise ValueError(
            f"The vocabulary has {len(rows)} words, of which {len(beyond)} have no row in the embedding of "
            f"{model.config.vocab_size} rows (the first: {beyond[:3]}); give the vocabulary that the model was built for."
        )
    vectors = _read(Path(path), rows.keys(), model.config.word_size)
    weight = model.words.weight
    with torch.no_grad():
        for word, row in rows.items():
            weight[row] = torch.tensor(vectors.get(word, 0.0), dtype=weight.dtype, device=weight.device)
    return len(vectors)


def _read(path: Path, words: Set[str], width: int) -> dict[str, list[float]]:
    if not path.is_file() or path.stat().st_size == 0:
        raise ValueError(
            f"{path} is not a file, or is empty; give the text file of GloVe vectors, such as glove.6B.300d.txt."
        )
    vectors = {}
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                word, numbers = _split(line, width, f"{path}, line {number}")
                if word in words:
                    vectors[word] = _vector(numbers, f"{path}, line {number}")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8 ({error}); unpack the archive first.") from error
    return vectors


def _split(line: str, width: int, where: str) -> tuple[str, list[str]]:
    fields = line.rstrip().split(" ")
    # GloVe 840B has words with blanks in them (". . ."), so a longer line is wrong only if the surplus is numbers.
    surplus = fields[1 : len(fields) - width]
    if len(fields) <= width or any(_is_number(field) for field in surplus):
        raise ValueError(
            f"{where}: a word and {width} numbers are needed (config.word_size), {len(fields) - 1} fields follow the word "
            f"{fields[0][:40]!r}; take the file of that width, without a header line, or another word_size."
        )
    return " ".join(fields[:-width]), fields[-width:]


def _vector(numbers: list[str], where: str) -> list[float]:
    try:
        vector = [float(number) for number in numbers]
    except ValueError as error:
        raise ValueError(f"{where}: {error}; the file is damaged.") from error
    if not all(math.isfinite(number) for number in vector):
        raise ValueError(f"{where}: a number is not finite; the file is damaged.")
    return vector


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

"""The base of builders that read records of one kind, questions or captions, and turn each into a row."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import datasets

from hf_guidance.data.builder_base import AnnotatedImageBuilder, AnnotatedImageConfig, shards

Record = tuple[str, Any]
"""What names a raw record in errors, and the record."""


@dataclass
class FolderConfig(AnnotatedImageConfig):
    """Options of builders that read raw data of a folder: `invalid`, as in `AnnotatedImageConfig`."""

    def base(self, layout: str) -> str:
        """The folder of the raw data; a `ValueError` names the expected ``layout`` if it is missing."""
        if self.data_dir is None:
            raise ValueError(f"data_dir: got None; pass the folder that holds {layout}.")
        base = os.path.abspath(os.path.expanduser(str(self.data_dir)))
        if not os.path.isdir(base):
            raise ValueError(f"data_dir: {base} is not a folder; pass the one that holds {layout}.")
        return base


class RecordBuilder(AnnotatedImageBuilder):
    """A builder of records: subclasses give the records of each split and turn one record into a row.

    A record that cannot be used is refused, or with ``invalid="skip"`` left out and counted; see `AnnotatedImageBuilder.read`.

    Attributes:
        kind: What a row is, for errors. Its column ``<kind>_id`` is unique within a split.
    """

    BUILDER_CONFIG_CLASS = FolderConfig
    kind: ClassVar[str] = "question"

    def records(self) -> Mapping[str, Iterable[Record]]:
        """Split -> records: what names the record in errors, and the record itself, which must be picklable."""
        raise NotImplementedError

    def row(self, item: str, record: Any) -> dict[str, Any]:
        """The row of a record, checked."""
        raise NotImplementedError

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        splits = self.records()
        if not splits:
            raise ValueError(
                f"{self.name}: no {self.kind} is left in any split. Left out or repaired: {self._counted.summary()}."
            )
        return [
            datasets.SplitGenerator(name=split, gen_kwargs={"records": shards(list(records), 4096)})
            for split, records in splits.items()
        ]

    def _generate_examples(self, records: list[tuple[Record, ...]]) -> Iterator[tuple[str, dict[str, Any]]]:
        for item, record in (entry for shard in records for entry in shard):
            row = self.read(item, partial(self.row, item), record)
            if row is not None:
                yield row[f"{self.kind}_id"], row

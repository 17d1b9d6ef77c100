"""Images without features are found before training, not when their batch comes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hf_guidance.data.annotated import can_be_judged
from hf_guidance.data.questions.region_ids import image_key, image_keys


def check_features(rows: Any, regions: Any, name: str) -> None:
    """Raise if the region features lack an image of a data set; accept a stream, or rows that a transform makes.

    Args:
        rows: A `datasets.Dataset` without a transform, or a list of rows. Rows with ``features`` of their own need no others.
        regions: A `RegionFeatures`, or a mapping of image ids.
        name: Names the data set in errors.

    Raises:
        ValueError: Images without features; the message has their number and the first of them. Or an ``image_id`` that is
            none.
    """
    if not (hasattr(regions, "missing") or isinstance(regions, Mapping)):
        return
    try:
        images = dict.fromkeys(map(image_key, _image_ids(rows)))
    except ValueError as error:
        raise ValueError(f"{name}, image_id: {error}") from None
    if hasattr(regions, "missing"):
        missing = regions.missing(images)
    else:  # as the collator looks them up
        missing = [image for image in images if not any(key in regions for key in image_keys(image))]
    if missing:
        where = regions if hasattr(regions, "missing") else "regions"
        raise ValueError(
            f"{name}: {len(missing)} of {len(images)} images have no features in {where} (first: {missing[:5]}). Add the file "
            "that holds them (RegionFeatures.open takes several), or leave these rows out."
        )


def _image_ids(rows: Any) -> Iterator[Any]:
    # Of the rows that have no features of their own; a row without an id is named by the collator.
    if isinstance(rows, (list, tuple)):
        yield from (
            row["image_id"]
            for row in rows
            if isinstance(row, Mapping) and row.get("features") is None and row.get("image_id") is not None
        )
    elif can_be_judged(rows) and "image_id" in rows.column_names:
        columns = [name for name in ("image_id", "features") if name in rows.column_names]
        for batch in rows.with_format("arrow").select_columns(columns).iter(batch_size=1000):
            own = batch.column("features").is_valid().to_pylist() if "features" in columns else [False] * len(batch)
            ids = batch.column("image_id").to_pylist()
            yield from (image for image, held in zip(ids, own, strict=True) if not held and image is not None)

"""Numbers of region features as they were written: any real dtype and byte order; anything else is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_REAL = "fiu"


def check_real(dtype: Any, what: str) -> None:
    """Raise a ValueError unless a dtype is one of whole or floating-point numbers."""
    if np.dtype(dtype).kind not in _REAL:
        raise ValueError(f"{what} has dtype {dtype}; allowed are whole and floating-point numbers.")


def real_numbers(value: Any, what: str) -> Array:
    """An array, list or tensor of real numbers, in the dtype that it has.

    Raises:
        ValueError: Anything else: text, objects, booleans, complex numbers, lists of different length.
    """
    try:
        numbers = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what}: {type(value).__name__} is no array of numbers ({error}).") from None
    check_real(numbers.dtype, what)
    return numbers


def whole_number(value: Any, what: str) -> int:
    """A whole number from 0 on: an int, a float or an array of one without a fraction, or one of them as text.

    Raises:
        ValueError: Anything else.
    """
    if type(value) is int and value >= 0:  # by far the most frequent: id maps have hundreds of thousands
        return value
    given = value.decode("latin1") if isinstance(value, bytes) else value
    try:
        number = np.asarray(float(given) if isinstance(given, str) else given)
        fits = number.size == 1 and number.dtype.kind in _REAL and number.item() == int(number.item()) >= 0
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        raise ValueError(f"{what} is {value!r}; allowed is a whole number from 0 on.")
    return int(number.item())


def box_counts(value: Any, images: int, places: int | None, what: str) -> npt.NDArray[np.int64]:
    """How many boxes each image has, checked.

    Args:
        value: (images,), whole numbers of any dtype.
        images: How many there must be.
        places: The largest number allowed; None allows any.
        what: Names the numbers in errors.

    Raises:
        ValueError: Another shape or dtype, a fraction, NaN, a negative number, or one above ``places``.
    """
    counts = real_numbers(value, what)
    if counts.shape != (images,):
        raise ValueError(f"{what} has shape {counts.shape}; allowed is ({images},), one number per image.")
    most = np.iinfo(np.int64).max if places is None else places
    wrong = ~((counts >= 0) & (counts <= most) & (counts == np.floor(counts)))  # so that NaN is wrong too
    if wrong.any():
        row = int(wrong.argmax())
        held, limit = ("", "on") if places is None else (f", the file holds {places} places", f"to {places}")
        raise ValueError(
            f"{what}, row {row}: {counts[row]} boxes are declared{held}; allowed are whole numbers from 0 {limit}. "
            f"{int(wrong.sum())} of {images} rows are wrong; correct num_boxes."
        )
    return counts.astype(np.int64)

"""Boxes as shares of the image: how far rounding puts them outside [0, 1], and how they are told from pixels."""

from __future__ import annotations

ROUNDING = 1e-4  # a quotient of pixels in float32 may end this far outside [0, 1]
SLACK = 0.01  # detectors see a resized image, so corners may end this share of a side outside
OUTSIDE = 0.1  # annotators and models of boxes may leave the image by this share
_SIDE = 32  # pixels


def are_shares(smallest: float, largest: float, side: float) -> bool:
    """Whether boxes given for pixels must be shares of the image.

    Args:
        smallest: The smallest coordinate of all boxes of an image.
        largest: The largest one.
        side: The longer side of the image, in pixels.

    Returns:
        True where every box lies in [0, 1] or ends up to a tenth outside, in an image of 32 pixels and more; in a smaller one,
        where a part of a pixel is much, up to 1 % outside. So a share that leaves the image a little is a share still.
    """
    outside = OUTSIDE + ROUNDING if side >= _SIDE else SLACK
    return side > 1 and -outside < smallest and largest < 1 + outside

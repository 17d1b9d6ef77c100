"""Scenes of simple objects, and images of them with exact masks."""

import functools
from dataclasses import dataclass

import numpy as np

SIDE = 128  # pixels of an image
CELLS = 4  # objects stand in a grid of 4x4 cells, at most one per cell, so that none hides another
PIXELS = {"small": 14, "large": 26}
PALETTE = {
    "red": (200, 40, 40),
    "green": (40, 160, 60),
    "blue": (50, 80, 210),
    "yellow": (225, 205, 50),
    "purple": (140, 60, 180),
    "cyan": (60, 200, 205),
    "orange": (235, 135, 35),
    "white": (240, 240, 240),
}
ATTRIBUTES = {
    "colour": tuple(PALETTE),
    "shape": ("circle", "square", "triangle", "diamond", "cross"),
    "size": tuple(PIXELS),
    "material": ("matte", "shiny"),
    "place": ("top left", "top right", "bottom left", "bottom right"),
}


@dataclass(frozen=True)
class Thing:
    """One object: its attributes, and its tight box in pixels, xyxy, half-open."""

    colour: str
    shape: str
    size: str
    material: str
    place: str
    box: tuple[int, int, int, int]


def sample_scene(rng: np.random.Generator, count: int) -> list[Thing]:
    """`count` objects with attributes drawn evenly, at most one per cell."""
    cell, things = SIDE // CELLS, []
    for index in rng.permutation(CELLS * CELLS)[:count]:
        row, column = divmod(int(index), CELLS)
        colour, shape, size, material = (
            ATTRIBUTES[name][int(rng.integers(len(ATTRIBUTES[name])))]
            for name in ("colour", "shape", "size", "material")
        )
        pixels = PIXELS[size]
        x, y = (cell * corner + int(rng.integers(cell - pixels + 1)) for corner in (column, row))
        place = f"{'top' if row < CELLS // 2 else 'bottom'} {'left' if column < CELLS // 2 else 'right'}"
        things.append(Thing(colour, shape, size, material, place, (x, y, x + pixels, y + pixels)))
    return things


@functools.cache
def stencil(shape: str, pixels: int) -> np.ndarray:
    """(pixels, pixels) booleans: the shape, touching all four sides."""
    y, x = np.mgrid[:pixels, :pixels] + 0.5
    centre = pixels / 2
    dx, dy = abs(x - centre), abs(y - centre)
    inside = {
        "circle": dx**2 + dy**2 <= centre**2,
        "square": np.full((pixels, pixels), True),
        "triangle": dx <= (y + 1) / 2,
        "diamond": dx + dy <= centre,
        "cross": np.minimum(dx, dy) <= pixels / 6,
    }
    return inside[shape]


def draw(things: list[Thing], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The image (SIDE, SIDE, 3) and the objects (SIDE, SIDE): 0 background, 1 + index of the object; both uint8."""
    picture = 90 + 12 * rng.standard_normal((SIDE, SIDE, 1)) + np.zeros(3)
    objects = np.zeros((SIDE, SIDE), dtype=np.uint8)
    for index, thing in enumerate(things):
        x0, y0, x1, y1 = thing.box
        inside = stencil(thing.shape, x1 - x0)
        surface = np.tile(np.array(PALETTE[thing.colour], dtype=float), (*inside.shape, 1))
        if thing.material == "shiny":  # a bright band across the middle, from edge to edge
            offset = np.add.outer(np.arange(len(inside)), np.arange(len(inside))) - len(inside) + 1
            surface[abs(offset) <= len(inside) / 10] *= 0.4
            surface[abs(offset) <= len(inside) / 10] += 0.6 * 255
        picture[y0:y1, x0:x1][inside] = surface[inside]
        objects[y0:y1, x0:x1][inside] = index + 1
    return np.clip(np.round(picture), 0, 255).astype(np.uint8), objects

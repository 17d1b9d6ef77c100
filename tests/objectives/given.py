"""A Forward whose logits and map are given, for objectives alone; and what the golden cases of VisFIS hold."""

from __future__ import annotations

import json
from dataclasses import dataclass

import torch

from hf_guidance.attributions import Attribution
from hf_guidance.families.region_family import RegionFamily
from hf_guidance.views import FULL


@dataclass(frozen=True)
class Stored(Attribution):
    """A map that the batch holds."""

    def needs(self):
        return frozenset({(FULL, "logits")})

    def __call__(self, forward):
        return forward.column("map")


class Given:
    """Logits by view, columns by name; rows are images."""

    family = RegionFamily(layers={})
    create_graph = True

    def __init__(self, logits, batch):
        self._logits = logits
        self.images = len(logits[FULL])
        # no objective reads the features, only where they are
        self.batch = {self.family.features: torch.zeros(self.images, 1, 1), **batch}

    def column(self, name):
        return self.batch[name]

    @property
    def annotated(self):
        return torch.as_tensor(self.batch.get("annotated", [True] * self.images)).double()

    def of_rows(self, values):
        return values

    def of_images(self, values):
        return values

    def importance(self, column, space=None):
        return self.batch[column]

    def seen(self, space):
        return (1.0, 1.0)

    def logits(self, view=FULL):
        return self._logits[view] if view == FULL else self._logits[view][None]

    def real_places(self, space):
        return self.batch.get("real")

    def attribution(self, method):
        return method(self)


class Case:
    """One golden case: arrays by attribute, settings by key."""

    def __init__(self, data, index):
        self._data, self._index = data, index
        self.variant = json.loads(str(data[f"c{index}__variant"]))

    def __getattr__(self, name):
        values = self._data[f"c{self._index}__{name}"]
        if name == "human_scores":
            values = values[..., 0]
        return torch.from_numpy(values.copy())

    def has(self, name):
        return f"c{self._index}__{name}" in self._data.files

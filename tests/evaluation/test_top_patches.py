"""Patches of channels: against the authors' numbers and a table of all images, of every family, as a file."""

import json

import numpy as np
import pytest
import torch
from tiny import BUILDERS, make_batch, tiny_family, tiny_model
from torch import nn
from torch.utils.data import DataLoader

from hf_guidance.common.weights_digest import weights_digest
from hf_guidance.evaluation.patches import Patch, PatchTable, top_patches
from hf_guidance.evaluation.patches.table import cell_size
from hf_guidance.families import Family
from hf_guidance.forward import Forward
from hf_guidance.views import FULL, Needs

GIVEN = Family(layers={"final": "layer"})


class Given(nn.Module):
    """A net whose images are its activations."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Identity(), nn.Linear(6, 2)

    def forward(self, pixel_values):
        return {"logits": self.head(self.layer(pixel_values).mean((2, 3)))}


def found_in(activations, size=8, **options):
    batches = [{"pixel_values": torch.as_tensor(activations[i : i + size])} for i in range(0, len(activations), size)]
    return top_patches(Given().double(), batches, family=GIVEN, **options)


@pytest.mark.parametrize("case", range(3))
@pytest.mark.parametrize("size", [5, 37])
def test_the_authors_patches(golden, agree, case, size):
    name = "crayon_sort/crayon_neuron_patches"
    data = golden(name)
    table = found_in(data[f"c{case}__h"], size)
    agree(name, table.image, data[f"c{case}__top20_image_index"])
    agree(name, np.stack([table.row, table.column], -1), data[f"c{case}__top20_patch_hw"])
    for channel, images in enumerate(data[f"c{case}__top3_image_index"]):
        places = data[f"c{case}__top3_patch_hw"][channel]
        assert table.of_channel(channel) == [
            Patch(int(image), *place) for image, place in zip(images, places.tolist(), strict=True)
        ]


@pytest.mark.parametrize("name", BUILDERS)
def test_every_family(name):
    """In one pass, as in a table of all images; the model stays as it was."""
    model, family = tiny_model(name), tiny_family(name)
    batches = [make_batch(3, seed=seed) for seed in range(3)]
    state, mode = weights_digest(model), model.training
    table = top_patches(model, batches, top=4)
    needs = Needs([(FULL, "final")])
    columns = [{"pixel_values": batch["pixel_values"]} for batch in batches]
    every = torch.cat([Forward(model, family, batch, needs).activation("final").detach() for batch in columns])
    values, index = every.flatten(2).amax(2).T.sort(descending=True, stable=True)
    assert torch.allclose(torch.from_numpy(table.value), values[:, :4])
    rounded = values.diff(dim=1).abs()[:, :4].amin(1) > 1e-9
    assert np.array_equal(table.image[rounded.numpy()], index[rounded, :4].numpy())
    picked = every[torch.from_numpy(table.image), torch.arange(len(table.image))[:, None], table.row, table.column]
    assert torch.allclose(picked, torch.from_numpy(table.value))
    assert table.grid == tuple(every.shape[2:])
    assert (weights_digest(model), model.training) == (state, mode)


def test_of_equal_values_the_earlier_image_and_place_come_first():
    table = found_in(torch.ones(9, 6, 2, 3, dtype=torch.float64), 4, top=5)
    assert table.image.tolist() == [[0, 1, 2, 3, 4]] * 6
    assert not table.row.any()
    assert not table.column.any()


def test_fewer_images_than_patches():
    assert found_in(torch.rand(2, 6, 2, 2, dtype=torch.float64)).image.shape == (6, 2)


def test_patches_of_several_channels_are_shown_once():
    activations = torch.zeros(4, 6, 7, 7, dtype=torch.float64)
    activations[0, :, 2, 3] = 5.0
    activations[1, :3, 6, 6] = 4.0
    table = found_in(activations, top=2)
    first, *others = table.to_items(shown=2)
    assert first == {"image": 0, "row": 2, "col": 3, "box": [3, 2, 4, 3], "channels": [0, 1, 2, 3, 4, 5]}
    assert [(item["row"], item["col"], item["channels"]) for item in others] == [(0, 0, [3, 4, 5]), (6, 6, [0, 1, 2])]
    assert {item["image"] for item in others} == {1}


def test_items_of_a_larger_image():
    table = PatchTable("final", 1, (274, 224), (9, 7), cell_size((274, 224), (9, 7)), *[np.zeros((1, 1), int)] * 4, "")
    assert table.cell == (32, 32)
    assert table.box(Patch(0, 0, 6)) == (192, 0, 224, 32)
    assert table.box(Patch(0, 8, 0)) == (0, 256, 32, 274)  # cut off at the edge of the image


@pytest.mark.parametrize(
    ("size", "grid", "cell"),
    [
        ((224, 224), (7, 7), (32, 32)),
        ((32, 64), (1, 2), (32, 32)),
        ((224, 224), (14, 14), (16, 16)),
        ((10, 10), (3, 4), (4, 3)),
    ],
)
def test_cells(size, grid, cell):
    assert cell_size(size, grid) == cell


def test_file(tmp_path):
    table = found_in(torch.rand(9, 6, 2, 3, dtype=torch.float64))
    table.save(tmp_path / "patches.json")
    again = PatchTable.load(tmp_path / "patches.json")
    for name in ("layer", "images", "image_size", "grid", "cell", "model"):
        assert getattr(again, name) == getattr(table, name)
    for name in ("image", "row", "column", "value"):
        assert np.array_equal(getattr(again, name), getattr(table, name))
    assert again.to_items() == table.to_items()
    again.check(table.model)
    with pytest.raises(ValueError, match="were found for a model with fingerprint"):
        again.check(weights_digest(Given()))


def damaged(change):
    def changed(text):
        plain = json.loads(text)
        change(plain)
        return json.dumps(plain)

    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:200], "well-formed JSON"),
        (damaged(lambda plain: plain.pop("row")), "no table of patches"),
        (damaged(lambda plain: plain.update(format=2)), "format 1"),
        (damaged(lambda plain: plain["row"].pop()), "is damaged"),
        (damaged(lambda plain: plain["image"][0].__setitem__(0, 9)), "images below 9"),
        (damaged(lambda plain: plain["column"][0].__setitem__(0, -1)), "is damaged"),
        (damaged(lambda plain: plain["row"][0].pop()), "is damaged"),
        (damaged(lambda plain: plain.update(grid=[1])), "is damaged"),
    ],
)
def test_damaged_files(tmp_path, change, message):
    file = tmp_path / "patches.json"
    found_in(torch.rand(9, 6, 2, 3, dtype=torch.float64)).save(file)
    file.write_text(change(file.read_text()))
    with pytest.raises(ValueError, match=message):
        PatchTable.load(file)


def test_what_is_refused():
    images = torch.rand(4, 6, 2, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match="no image"):
        top_patches(Given(), [], family=GIVEN)
    with pytest.raises(ValueError, match="top=0"):
        found_in(images, top=0)
    with pytest.raises(ValueError, match="no column 'pixel_values'"):
        top_patches(Given(), [{"images": images}], family=GIVEN)
    with pytest.raises(ValueError, match="shuffles"):
        top_patches(Given(), DataLoader([{"pixel_values": images[0]}], shuffle=True), family=GIVEN)
    with pytest.raises(ValueError, match="to one size"):
        top_patches(Given().double(), [{"pixel_values": images}, {"pixel_values": images[:, :, :1]}], family=GIVEN)
    with pytest.raises(ValueError, match="without places"):
        top_patches(Given().double(), [{"pixel_values": images}], family=GIVEN, layer="head")
    images[1, 2] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinity"):
        found_in(images)

"""A net, rows and a trainer: for models of types that no file of families/ describes."""

from types import SimpleNamespace

import torch
from odd_nets import SIZE
from torch import nn

from hf_guidance import GuidanceArguments, GuidedTrainer
from hf_guidance.attributions import InputXGradient
from hf_guidance.guidance import Guidance
from hf_guidance.objectives import Energy


def rows(count=4, size=SIZE):
    generator = torch.Generator().manual_seed(0)
    boxes = torch.zeros(size)
    boxes[: size[0] // 2] = 1
    return [
        {
            "pixel_values": torch.randn(3, *size, generator=generator),
            "labels": i % 2,
            "target": i % 2,
            "importance": boxes,
        }
        for i in range(count)
    ]


def trainer_of(model, layer, tmp_path, **options):
    args = GuidanceArguments(
        str(tmp_path), max_steps=1, per_device_train_batch_size=2, report_to="none", save_strategy="no", use_cpu=True,
        disable_tqdm=True,
    )  # fmt: skip
    guidance = Guidance(energy=Energy(InputXGradient(layer)))
    data = rows()
    return GuidedTrainer(model, args, train_dataset=data, eval_dataset=data, guidance=guidance, **options)


def plain_net(forward=None, channels=3):
    """A net of two convolutions; ``forward(net, logits, maps)`` says what it puts out."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.config = SimpleNamespace(image_size=SIZE, model_type="mine")
            self.first, self.second = nn.Conv2d(channels, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)
            self.head = nn.Linear(8, 3)

        def called(self, images):
            maps = torch.tanh(self.second(torch.tanh(self.first(images))))
            logits = self.head(maps.mean((2, 3)))
            return {"logits": logits} if forward is None else forward(logits, maps)

        def forward(self, pixel_values):
            return self.called(pixel_values)

    torch.manual_seed(0)
    return Net()

"""The toy net of the golden numbers of CRAYON: convolution 3x3, ReLU, mean, Linear."""

from __future__ import annotations

import torch
from torch import nn

from hf_guidance.families import Family

FAMILY = Family(layers={"final": "relu"}, pooled_linear="fc")


class ConvNet(nn.Module):
    """With the parameters of a case, in float64."""

    def __init__(self, data, case):
        super().__init__()
        weight, head = data[f"c{case}__p_conv_weight"], data[f"c{case}__p_fc_weight"]
        self.conv = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(head.shape[1], head.shape[0])
        self.double()
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                parameter.copy_(torch.from_numpy(data[f"c{case}__p_{name.replace('.', '_')}"]))

    def forward(self, pixel_values):
        return {"logits": self.fc(self.relu(self.conv(pixel_values)).mean((2, 3)))}


def masked_net(data, case):
    """The net with the mask of the case, its weights as they are."""
    from hf_guidance.models.channel_mask import ChannelMask, attach_channel_mask

    net = ConvNet(data, case)
    pruned = (data[f"c{case}__neuron_keep"] == 0).nonzero()[0].tolist()
    attach_channel_mask(net, ChannelMask("relu", net.fc.in_features, tuple(pruned)))
    return net

"""Cards of pruned models load them with their mask."""

from tiny import fresh_model

from hf_guidance import Guidance, Term
from hf_guidance.attributions import GradCAM
from hf_guidance.models.channel_mask import ChannelMask, attach_channel_mask
from hf_guidance.objectives import Energy
from hf_guidance.training.publishing.usage import code_to_load

GUIDANCE = Guidance(energy=Term(Energy(GradCAM()), 0.5, "rows"))


def test_the_card_says_how_to_load_the_mask():
    model = fresh_model("resnet")
    attach_channel_mask(model, ChannelMask("resnet.encoder.stages.3", 20, (1,)))
    code = code_to_load(model, GUIDANCE, "me/net", None, "image-classification", True)
    compile(code, "card", "exec")
    assert "from hf_guidance.models import load_pruned\nfrom transformers import AutoImageProcessor\n" in code
    assert "model = load_pruned(repo)\n" in code
    assert "AutoModelForImageClassification" not in code

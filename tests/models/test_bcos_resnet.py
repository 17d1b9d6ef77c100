"""The B-cos ResNet: sizes, contributions, bad input, Auto classes."""

import pytest
import torch
from tiny_bcos import MULTI, pixels, tiny_net
from torch.autograd import gradgradcheck
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForImageClassification

from hf_guidance.attributions import BcosContribution, GradCAM, PredictedLogit
from hf_guidance.families import family_of
from hf_guidance.forward import Forward
from hf_guidance.models import BcosConv2d, BcosResNetConfig, BcosResNetForImageClassification, UncenteredBatchNorm2d

LAYERS = ("input", "mid1", "mid2", "mid3", "final")
SMALL = {"embedding_size": 16, "hidden_sizes": [32, 64, 128], "depths": [1, 1, 1], "layer_type": "basic"}


def explained(model, images, *methods, **columns):
    needs = frozenset().union(*(method.needs() for method in methods))
    target = torch.arange(len(images)) % model.config.num_labels
    return Forward(model, family_of(model), {"pixel_values": images, "target": target} | columns, needs)


@pytest.mark.parametrize(("depth", "millions"), [(18, 11.69), (34, 21.80), (50, 25.54), (101, 44.50)])
def test_sizes_of_the_published_nets(depth, millions):
    """Numbers of parameters as B-cos-v2 states them, for 1000 classes."""
    with torch.device("meta"):
        model = BcosResNetForImageClassification(BcosResNetConfig.of_depth(depth, num_labels=1000))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.011)
    kinds = {type(module) for module in model.modules() if not list(module.children())}
    assert kinds == {BcosConv2d, UncenteredBatchNorm2d, torch.nn.AvgPool2d, torch.nn.Identity}
    assert model.config.logit_bias == pytest.approx(-6.9068, abs=1e-4)


def test_defaults_are_the_resnet_50_of_the_paper():
    ours, by_depth = BcosResNetConfig().to_dict(), BcosResNetConfig.of_depth(50).to_dict()
    assert ours == by_depth
    assert BcosResNetConfig.of_depth(18, num_labels=7, b=1.5).num_labels == 7


@pytest.mark.parametrize("sizes", [{}, SMALL, {"layer_type": "basic"}, {"downsample_in_stem": False}, {"max_out": 2}])
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_contributions_sum_to_the_logit_without_its_bias(sizes, layer, dtype):
    model = tiny_net(**sizes).to(dtype)
    if layer not in ("input", *family_of(model).layers):
        pytest.skip("a net of three stages has no mid3")
    images, method = pixels(4).to(dtype), BcosContribution(layer)
    forward = explained(model, images, method)
    sums = forward.attribution(method).flatten(1).sum(1)
    expected = forward.scores(method.target) - model.config.logit_bias
    bound = 1e-5 if dtype == torch.float32 else 1e-12
    assert (sums - expected).abs().max() <= bound * max(1.0, expected.abs().max().item())


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("training", [True, False])
def test_permuted_images_give_permuted_contributions(layer, training):
    """In training too: the norms' statistics are fixed in the first differentiation, and the batch's are the same."""
    model, images, method = tiny_net().train(training), pixels(3), BcosContribution(layer, PredictedLogit())
    maps = explained(model, images, method).attribution(method)
    order = torch.tensor([2, 0, 1])
    again = explained(model, images[order], method).attribution(method)
    torch.testing.assert_close(again, maps[order], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_map_without_graph_is_the_same(layer):
    model, images, method = tiny_net(), pixels(), BcosContribution(layer)
    maps = explained(model, images, method).attribution(method)
    with torch.no_grad():
        again = explained(model, images, method).attribution(method)
    assert maps.requires_grad
    assert not again.requires_grad
    torch.testing.assert_close(again, maps.detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("layer", LAYERS)
def test_several_classes_an_image_in_one_step(layer):
    """Two slots differentiate one graph twice: maps and parameter gradients are those of each class alone."""
    model, images, method = tiny_net(), pixels(2), BcosContribution(layer)
    rows = [(0, 0, 2), (1, 0, 0), (0, 1, 1)]
    columns = {name: [row[i] for row in rows] for i, name in enumerate(("row", "slot"))}
    target = torch.tensor([row[2] for row in rows])
    maps = explained(model, images, method, target=target, **columns).attribution(method)
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(maps.pow(2).sum(), parameters)
    expected = [torch.zeros_like(p) for p in parameters]
    for index, (image, _, label) in enumerate(rows):
        alone = explained(model, images[[image]], method, target=torch.tensor([label])).attribution(method)
        torch.testing.assert_close(maps[index], alone[0], rtol=1e-9, atol=1e-12)
        for sum_, part in zip(expected, torch.autograd.grad(alone.pow(2).sum(), parameters), strict=True):
            sum_ += part
    for ours, theirs in zip(gradients, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("layer", ["input", "mid2", "final"])
@pytest.mark.parametrize("training", [True, False])
def test_maps_are_differentiated_in_full(layer, training):
    """Finite differences of the map in a filter of the stem, one of a block and one of the head."""
    model, images, method = tiny_net().train(training), pixels(2, (20, 20)), BcosContribution(layer)
    paths = ("stem.0.convolution", "stages.1.0.layers.1.norm", "classifier")
    modules = [model.get_submodule(path) for path in paths]
    weights = [module.weight.detach().clone().requires_grad_() for module in modules]
    for module in modules:
        del module._parameters["weight"]

    def maps(*weights):
        for module, weight in zip(modules, weights, strict=True):
            module.__dict__["weight"] = weight
        return explained(model, images, method).attribution(method)

    assert torch.autograd.gradcheck(maps, weights, fast_mode=True)


def test_second_derivatives_of_the_logits():
    model = tiny_net(hidden_sizes=(4, 8), depths=(1, 1))
    images = pixels(1, (9, 8)).requires_grad_()
    assert gradgradcheck(lambda x: model(x).logits, images, fast_mode=True)


def test_grad_cam_takes_the_ordinary_gradient():
    """The authors' GradCAM does not fix the weights; the map of a head with b = 2 has twice that of the contribution."""
    model, images = tiny_net(), pixels(2)
    plain, fixed = GradCAM(relu=False), BcosContribution("final")
    forward = explained(model, images, plain, fixed)
    with_graph = forward.gradient("final", plain.target)
    features = forward.activation("final").detach().requires_grad_()
    head = model.classifier(features).mean((-2, -1))[torch.arange(2), forward.column("target")]
    (expected,) = torch.autograd.grad(head.sum(), features)
    torch.testing.assert_close(with_graph, expected)
    maps = (forward.activation("final") * with_graph.mean((-2, -1), keepdim=True)).sum(1)
    torch.testing.assert_close(forward.attribution(plain), maps)


@pytest.mark.parametrize("problem", [None, "single_label_classification", MULTI])
def test_losses(problem):
    model, images = tiny_net(problem_type=problem), pixels()
    multi = problem == MULTI
    labels = torch.eye(3, dtype=torch.float64) if multi else torch.tensor([0, 2, 1])
    output = model(images, labels=labels)
    expected = F.binary_cross_entropy_with_logits if multi else F.cross_entropy
    torch.testing.assert_close(output.loss, expected(output.logits, labels))
    loss, logits = model(images, labels=labels, return_dict=False)
    assert torch.equal(loss, output.loss)
    assert torch.equal(logits, output.logits)
    assert len(model(images, return_dict=False)) == 1


def test_without_a_problem_type_float_labels_are_multi_label():
    model, images = tiny_net(), pixels()
    labels = torch.rand(3, 3, dtype=torch.float64)
    output = model(images, labels=labels)
    torch.testing.assert_close(output.loss, F.binary_cross_entropy_with_logits(output.logits, labels))


@pytest.mark.parametrize("sizes", [{}, SMALL | {"logit_bias": 0.0, "downsample_in_stem": False}])
def test_a_saved_net_loads_through_the_auto_classes(sizes, tmp_path):
    model = tiny_net(**sizes)
    model.train()(pixels())  # running statistics move
    model.eval().save_pretrained(tmp_path)
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path, dtype=torch.float64).eval()
    assert type(loaded) is BcosResNetForImageClassification
    again = AutoConfig.from_pretrained(tmp_path).to_dict()
    assert again | {"_name_or_path": ""} == model.config.to_dict()
    torch.testing.assert_close(loaded(pixels()).logits, model(pixels()).logits, rtol=0, atol=0)
    for ours, theirs in zip(loaded.buffers(), model.buffers(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_net_for_other_classes_gets_a_new_head(tmp_path):
    model = tiny_net()
    model.save_pretrained(tmp_path)
    loaded = BcosResNetForImageClassification.from_pretrained(
        tmp_path, num_labels=5, ignore_mismatched_sizes=True, dtype=torch.float64
    )
    assert loaded.classifier.weight.shape == (5, 20, 1, 1)
    assert loaded.classifier.weight.detach().flatten(1).norm(dim=1).mean() == pytest.approx(1.0, abs=0.4)
    assert torch.equal(loaded.stages[0][0].layers[0].norm.running_var, model.stages[0][0].layers[0].norm.running_var)


def test_filters_begin_with_length_one():
    model = BcosResNetForImageClassification(BcosResNetConfig(num_labels=10, **SMALL))
    for module in model.modules():
        if isinstance(module, BcosConv2d):
            assert module.weight.detach().flatten(1).norm(dim=1).mean() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, r"pixel_values has shape None; a B-cos net needs \(batch, 6, height, width\)"),
        (torch.zeros(2, 3, 16, 16), r"has shape \(2, 3, 16, 16\).*BcosImageProcessor \(another model's processor"),
        (torch.zeros(6, 16, 16), r"has shape \(6, 16, 16\)"),
    ],
)
def test_pixels_of_another_processor_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        tiny_net()(given)


@pytest.mark.parametrize(
    ("problem", "labels"),
    [
        ("single_label_classification", torch.zeros(3, 3)),
        (MULTI, torch.zeros(3, dtype=torch.int64)),
        (None, torch.zeros(2, dtype=torch.int64)),
    ],
)
def test_labels_that_do_not_fit_are_refused(problem, labels):
    with pytest.raises(ValueError, match=r"do not fit logits of shape \(3, 3\).*problem_type"):
        tiny_net(problem_type=problem)(pixels(), labels=labels)


def test_a_regression_is_refused_by_name():
    model = tiny_net(problem_type="regression")
    assert model(pixels()).loss is None
    with pytest.raises(ValueError, match=r"problem_type='regression': a B-cos net classifies; set config.problem_type"):
        model(pixels(), labels=torch.zeros(3, 3))


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8])
def test_classes_of_any_integer_type_are_classes(dtype):
    model, labels = tiny_net(), torch.tensor([0, 2, 1])
    expected = model(pixels(), labels=labels).loss
    assert torch.equal(model(pixels(), labels=labels.to(dtype)).loss, expected)
    assert torch.equal(model(pixels(), labels=labels[:, None]).loss, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
def test_classes_that_are_no_integers_are_refused(dtype):
    with pytest.raises(ValueError, match=rf"labels are {dtype}; one class per image is an integer: give int64"):
        tiny_net()(pixels(), labels=torch.zeros(3, dtype=dtype))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layer_type": "wide"}, r"layer_type='wide'\) is unknown; choose one of \['basic', 'bottleneck'\]"),
        ({"depths": [1, 1]}, r"hidden_sizes=\[256, 512, 1024, 2048\], depths=\[1, 1\]\): give one number of channels"),
        ({"depths": [], "hidden_sizes": []}, "one of blocks per stage"),
        ({"hidden_sizes": 64}, r"hidden_sizes=64, depths=\[3, 4, 6, 3\]\): give one number of channels"),
        ({"depths": "3463"}, r"depths=3463\): give one number of channels"),
        ({"depths": [3, 4, 0, 3]}, r"depths=\[3, 4, 0, 3\].*each at least 1"),
        ({"hidden_sizes": [256, 512, 1024, 2049]}, "multiples of 4, or layer_type='basic'"),
        ({"num_channels": 0}, r"num_channels=0\) must be at least 1"),
        ({"b": 0.0}, r"BcosResNetConfig\(b=0.0\) must be at least 1"),
        ({"max_out": 0}, r"BcosResNetConfig\(max_out=0\)"),
        ({"embedding_size": "8"}, r"embedding_size='8'\) must be at least 1 and a whole number"),
        ({"num_channels": 6.0}, r"num_channels=6.0\) must be at least 1 and a whole number"),
        ({"depths": [1, 1.0], "hidden_sizes": [4, 4]}, r"depths=\[1, 1.0\]\).*each at least 1 and whole"),
        ({"depths": [True], "hidden_sizes": [4]}, "each at least 1 and whole"),
        ({"norm_eps": -1}, r"norm_eps=-1\) must be a finite number above 0"),
        ({"norm_eps": 0.0}, r"norm_eps=0.0\) must be a finite number above 0"),
        ({"b": "2"}, r"b='2'\) must be at least 1 and a number"),
        ({"max_out": 1.5}, r"max_out=1.5\) must be at least 1 and whole: the number"),
        ({"norm_eps": "a"}, r"norm_eps='a'\) must be a finite number above 0"),
        ({"logit_bias": "a"}, r"logit_bias='a'\) must be a finite number, such as"),
        ({"logit_bias": float("nan")}, r"logit_bias=nan\) must be a finite number, such as"),
    ],
)
def test_bad_sizes(given, message):
    with pytest.raises(ValueError, match=message):
        BcosResNetConfig(**given)


def test_an_unknown_depth_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"of_depth\(20\) is unknown; choose one of \[18, 34, 50, 101\]"):
        BcosResNetConfig.of_depth(20)

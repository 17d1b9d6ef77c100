"""generate() of UpDn with the state kept from word to word: what it says is what it says when it reads all words anew."""

import pytest
import torch
from tiny import relative_error
from toy_captions import BEGIN, IMAGES, TIMES, WORDS, caption_batch, captioner

BATCH = caption_batch()
BOXES = {name: BATCH[name] for name in ("visual_feats", "visual_attention_mask")}
PROMPT = torch.cat([torch.full((IMAGES, 1), BEGIN), torch.tensor([[3, 4, 5], [6, 7, 8], [9, 10, 3]])], 1)
SEARCHES = {
    "greedy": {"do_sample": False},
    "beams": {"num_beams": 4, "do_sample": False},
    "beams, all": {"num_beams": 4, "num_return_sequences": 4, "do_sample": False, "length_penalty": 0.0},
    "beams, sampled": {"num_beams": 3, "do_sample": True},
    "sampled": {"do_sample": True},
    "sampled, several": {"do_sample": True, "num_return_sequences": 3, "temperature": 2.0},
}


@pytest.fixture(scope="module")
def model():
    """A captioner whose words differ by image and time, so that a wrong state would show."""
    made = captioner().eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            parameter.mul_(1.0 if name.startswith("output") else 4.0)
        made.output.weight.mul_(3.0)
    return made


def said(model, given, **options):
    """Captions, and the scores of every word before they are made float32."""
    seen = []
    hook = model.register_forward_hook(lambda _, given, output: seen.append(output.logits[:, -1]))
    torch.manual_seed(3)
    tokens = model.generate(**given, max_new_tokens=8, **options)
    hook.remove()
    return tokens, seen


@pytest.mark.parametrize("images", [1, IMAGES])
@pytest.mark.parametrize("prompt", [False, True])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("search", SEARCHES)
def test_captions_and_scores_are_those_of_all_words_anew(model, search, padded, prompt, images):
    given = {name: value[:images] for name, value in BOXES.items() if padded or name == "visual_feats"}
    if prompt:
        given["input_ids"] = PROMPT[:images]
    ours, scores = said(model, given, use_cache=True, **SEARCHES[search])
    theirs, expected = said(model, given, use_cache=False, **SEARCHES[search])
    assert torch.equal(ours, theirs)
    assert len(scores) == len(expected) > 1
    for mine, other in zip(scores, expected, strict=True):
        assert relative_error(mine, other) < 1e-12


def test_words_differ_by_image_and_beam(model):
    """Else the tests above would pass with any state."""
    beams, _ = said(model, BOXES, num_beams=4, num_return_sequences=4)
    assert len({tuple(one) for one in beams.tolist()}) > 6


@pytest.mark.parametrize("search", ["greedy", "beams", "sampled, several"])
def test_each_word_costs_one_step_and_the_image_is_projected_once(model, search, monkeypatch):
    read, projected = [], []
    plain = model._read
    monkeypatch.setattr(model, "_read", lambda words, *rest: (read.append(words.shape[1]), plain(words, *rest))[1])
    hook = model.box_projection.register_forward_hook(lambda *_: projected.append(1))
    tokens = model.generate(**BOXES, input_ids=PROMPT, max_new_tokens=6, min_new_tokens=6, **SEARCHES[search])
    hook.remove()
    assert tokens.shape[1] == 4 + 6
    assert read == [4, 1, 1, 1, 1, 1]
    assert len(projected) == 1


def test_a_caption_in_two_calls_is_one_in_one(model):
    whole = model(**BOXES, input_ids=BATCH["input_ids"])
    assert whole.state is None
    first = model(**BOXES, input_ids=BATCH["input_ids"][:, :2], use_cache=True)
    then = model(**BOXES, input_ids=BATCH["input_ids"][:, 2:], state=first.state, use_cache=True)
    for name in ("logits", "attention"):
        assert relative_error(torch.cat([first[name], then[name]], 1), whole[name]) < 1e-13
    assert torch.equal(then.state.words, BATCH["input_ids"])
    assert first.state.words.shape == (IMAGES, 2)  # a state is not written to by what goes on from it


def test_generation_goes_on_from_a_state(model):
    first = model(**BOXES, input_ids=PROMPT[:, :3], use_cache=True)
    options = {"do_sample": False, "max_new_tokens": 5}
    ours = model.generate(**BOXES, input_ids=PROMPT, state=first.state, **options)
    assert torch.equal(ours, model.generate(**BOXES, input_ids=PROMPT, **options))


def test_a_state_of_other_words_is_not_used(model):
    other = model(**BOXES, input_ids=PROMPT.flip(0)[:, :3], use_cache=True).state
    options = {"max_new_tokens": 5, "do_sample": False}
    for search in ({}, {"num_beams": 3}):  # beams have more rows than the state
        ours = model.generate(**BOXES, input_ids=PROMPT, state=other, **options, **search)
        assert torch.equal(ours, model.generate(**BOXES, input_ids=PROMPT, **options, **search))


def test_beams_that_nobody_reorders_are_read_anew(model, monkeypatch):
    """Under a transformers that does not know the name, captions take longer and stay right."""
    expected = model.generate(**BOXES, num_beams=4, max_new_tokens=8, use_cache=False)
    monkeypatch.setattr("hf_guidance.models.updn_captioner.state.CaptionState.reorder_cache", lambda *_: None)
    assert torch.equal(model.generate(**BOXES, num_beams=4, max_new_tokens=8), expected)


def test_gradients_through_a_state(model):
    """Of words in two calls, at the boxes and the weights, as of words in one."""
    ids, weights = BATCH["input_ids"], torch.randn(IMAGES, TIMES, WORDS, dtype=torch.float64)
    found = []
    for cut in (TIMES, 3):
        boxes = BOXES | {"visual_feats": BOXES["visual_feats"].clone().requires_grad_()}
        output = model(**boxes, input_ids=ids[:, :cut], use_cache=True)
        logits = [output.logits]
        if cut < TIMES:
            logits.append(model(**boxes, input_ids=ids[:, cut:], state=output.state).logits)
        loss = (torch.cat(logits, 1) * weights).sum()
        found.append(torch.autograd.grad(loss, [boxes["visual_feats"], *model.parameters()]))
    for mine, other in zip(*found, strict=True):
        assert relative_error(mine, other) < 1e-11


@pytest.mark.parametrize(
    "boxes", [{"visual_feats": BOXES["visual_feats"][:, :4]}, {"visual_feats": BOXES["visual_feats"][:2]}]
)
def test_a_state_of_other_images_is_refused(model, boxes):
    state = model(**BOXES, input_ids=PROMPT, use_cache=True).state
    with pytest.raises(ValueError, match=r"state is of \(3, 5\) \(images, boxes\), visual_feats of .* or no state"):
        model(**boxes, input_ids=PROMPT[: len(boxes["visual_feats"])], state=state)


def test_an_assistant_is_refused(model):
    with pytest.raises(ValueError, match="stateful models, such as UpDnForImageCaptioning"):
        model.generate(
            **{name: value[:1] for name, value in BOXES.items()}, assistant_model=captioner(), max_new_tokens=3
        )

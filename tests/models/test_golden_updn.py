"""UpDn and its tokenizer against numbers obtained by running the authors' code."""

import json

import pytest
import torch

from hf_guidance.models import UpDnConfig, UpDnForQuestionAnswering, load_official_weights, word_tokenizer

FORWARD, TEXT = "visfis/updn_forward", "visfis/text_and_softscores"


def official(data, case, prefix=""):
    state = {
        prefix + name.split("__sd__")[1]: torch.from_numpy(data[name])
        for name in data.files
        if name.startswith(f"c{case}__sd__")
    }
    config = UpDnConfig(vocab_size=7, hidden_size=6, visual_feat_dim=5, num_labels=4)
    model = UpDnForQuestionAnswering(config).eval()
    load_official_weights(model, state)
    return model


@pytest.mark.parametrize("case", [0, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_forward_pass_and_gradient(golden, agree, case, dtype):
    data = golden(FORWARD)
    model = official(data, case).to(dtype)
    features = torch.from_numpy(data[f"c{case}__objs"]).to(dtype).requires_grad_()
    output = model(torch.from_numpy(data[f"c{case}__question_ids"]), features)
    agree(f"{FORWARD} (logits)", output.logits, data[f"c{case}__logits"], 1e-6)
    agree(f"{FORWARD} (attention)", output.attention[..., None], data[f"c{case}__attention"], 1e-6)
    assert (output.logits.argsort(1, descending=True).numpy() == data[f"c{case}__argsort_desc"]).all()
    (gradient,) = torch.autograd.grad(output.logits.max(1).values.sum(), features)
    # The numbers are float32's; their gradients are sums that nearly cancel.
    agree(f"{FORWARD} (gradient)", gradient, data[f"c{case}__grad_objs_of_top_logit"], 2e-6)


def test_checkpoints_of_data_parallel_load_too(golden):
    data = golden(FORWARD)
    plain, wrapped = official(data, 0).state_dict(), official(data, 0, prefix="module.").state_dict()
    assert all(torch.equal(plain[name], wrapped[name]) for name in plain)


def test_other_checkpoints_are_refused(golden):
    data = golden(FORWARD)
    model = official(data, 0)
    state = {name.split("__sd__")[1]: torch.from_numpy(data[name]) for name in data.files if "c0__sd__" in name}
    with pytest.raises(ValueError, match=r"missing \['classifier.main.3.bias'\], unknown \['fc.bias'\]"):
        load_official_weights(model, state | {"fc.bias": state.pop("classifier.main.3.bias")})
    state = {name.split("__sd__")[1]: torch.from_numpy(data[name]) for name in data.files if "c0__sd__" in name}
    state["w_emb.emb.weight"] = torch.zeros(9, 300)
    with pytest.raises(ValueError, match=r"w_emb.emb.weight has shape \(9, 300\), words.weight has \(7, 300\)"):
        load_official_weights(model, state)


@pytest.mark.parametrize("case", [0, 1])
def test_word_indices(golden, agree, case):
    data = golden(TEXT)
    questions = json.loads(str(data[f"c{case}__questions_json"]))
    tokenizer = word_tokenizer(json.loads(str(data[f"c{case}__vocab_json"])))
    encoded = tokenizer(questions, padding="max_length", truncation=True, return_tensors="pt")
    assert encoded.input_ids.dtype == torch.int64
    agree(f"{TEXT} (tokens)", encoded.input_ids, data[f"c{case}__tokens"], 0)


@pytest.mark.parametrize("case", [0, 1])
def test_vocabulary_is_made_as_the_authors_make_it(golden, case):
    """The golden vocabulary is that of the first four questions, and of the one cut off at 14 words in full."""
    data = golden(TEXT)
    questions = json.loads(str(data[f"c{case}__questions_json"]))[:4]
    vocabulary = word_tokenizer(questions).get_vocab()
    assert vocabulary.pop("[PAD]") == len(vocabulary)
    assert vocabulary == json.loads(str(data[f"c{case}__vocab_json"]))

"""UpDn for captions: an LSTM that attends to boxes, and an LSTM that says the next word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import GenerationMixin, PreTrainedModel
from transformers.utils import ModelOutput

from hf_guidance.models.shared.box_attention import check_mask, masked_softmax
from hf_guidance.models.shared.edited_boxes import check_features
from hf_guidance.models.shared.words import word_vectors
from hf_guidance.models.updn_captioner.configuration import UpDnCaptionerConfig
from hf_guidance.models.updn_captioner.state import CaptionState, Cell

IGNORED = -100  # of labels, as everywhere in transformers


@dataclass
class UpDnCaptionerOutput(ModelOutput):  # type: ignore[misc]
    """What ``UpDnForImageCaptioning`` returns.

    Attributes:
        loss: Mean cross-entropy over the words, if ``labels`` were given.
        logits: (images, times, vocabulary): at time t of the word that follows ``input_ids[:, t]``.
        attention: (images, times, objects), sums to 1 over the boxes that are not padding.
        state: After the last word, if ``use_cache``; the next words can be read from there.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    attention: Tensor | None = None
    state: CaptionState | None = None


class UpDnForImageCaptioning(PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """UpDn captions of arXiv 1707.07998, section 3.2.

    With v_k the features of box k, v their mean over the boxes, e_t the vector of the word at time t, and both states 0 before
    the first word:

    ``h1_t = LSTM_1([h2_(t-1), v, e_t])``, ``a_t = softmax_k(w . tanh(W_v v_k + W_h h1_t))``,
    ``h2_t = LSTM_2([sum_k a_tk v_k, h1_t])``, ``logits_t = W h2_t + b``.

    All words are given and all logits come from one call (teacher forcing). ``generate()`` is that of transformers: greedy,
    beams, sampling. It keeps the states, so that each word costs one step of both LSTMs; the image is projected once.

    Note:
        Padding stands behind the last word, where nothing depends on it. The paper does not say how the states begin.

    Reference:
        Anderson et al., "Bottom-Up and Top-Down Attention for Image Captioning and Visual Question Answering", CVPR 2018,
        arXiv 1707.07998, eq. 2 to 8.

    Example:
        >>> model = UpDnForImageCaptioning(UpDnCaptionerConfig(vocab_size=len(tokenizer)))
        >>> words = model.generate(visual_feats=features, num_beams=5, max_new_tokens=16)
    """

    config_class = UpDnCaptionerConfig
    base_model_prefix = "updn_captioner"
    main_input_name = "input_ids"
    _is_stateful = True  # transformers refuses to generate by an assistant, which would take words back

    def __init__(self, config: UpDnCaptionerConfig) -> None:
        super().__init__(config)
        size, dims, words = config.hidden_size, config.visual_feat_dim, config.word_size
        self.words = nn.Embedding(config.vocab_size, words, padding_idx=config.pad_token_id)
        self.attention_lstm = nn.LSTMCell(size + dims + words, size)
        self.language_lstm = nn.LSTMCell(dims + size, size)
        self.box_projection = nn.Linear(dims, config.attention_size, bias=False)
        self.state_projection = nn.Linear(size, config.attention_size, bias=False)
        self.attention_score = nn.Linear(config.attention_size, 1, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(size, config.vocab_size)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.LSTMCell | nn.Embedding):
            module.reset_parameters()

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False  # the states of an LSTM are no cache of keys and values

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the word embedding."""
        return self.words

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the word embedding."""
        self.words = value

    def get_output_embeddings(self) -> nn.Linear:
        """Return the layer that scores words."""
        return self.output

    def forward(
        self,
        input_ids: Tensor | None = None,
        visual_feats: Tensor | None = None,
        visual_pos: Tensor | None = None,
        attention_mask: Tensor | None = None,
        visual_attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        state: CaptionState | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """Score the next word after each of the given ones.

        Args:
            input_ids: (images, times) int64: the token of the beginning and the words; padding behind them.
            visual_feats: (images, objects, dims) float.
            visual_pos: Ignored: UpDn does not look at the places of boxes.
            attention_mask: Ignored: what stands behind a word does not change what is said of it.
            visual_attention_mask: (images, objects), 0 = padding.
            labels: (images, times) int64: the word that follows each token of ``input_ids``, -100 where none does.
            state: Of an earlier call on the same images, whose words stand before these; None at the beginning.
            use_cache: Whether the state after the last word is returned.
            return_dict: False gives a tuple.

        Returns:
            UpDnCaptionerOutput.

        Raises:
            ValueError: Words or boxes are missing, shapes that do not fit, or a state of other images.
        """
        features = check_features(visual_feats, self.config.visual_feat_dim)
        words = word_vectors(self.words, input_ids, "UpDnCaptionerConfig")
        if len(words) != len(features):
            raise ValueError(
                f"input_ids has {len(words)} captions, visual_feats {len(features)} images; give one for each."
            )
        before = self._begin(features, visual_attention_mask) if state is None else state.of(features)
        states, attention, cells = self._read(words, features, visual_attention_mask, before)
        logits = self.output(self.dropout(states))
        loss = None if labels is None else _loss(logits, labels)
        after = before.after(input_ids, *cells) if use_cache and input_ids is not None else None
        output = UpDnCaptionerOutput(loss, logits, attention, after)
        return output if (self.config.return_dict if return_dict is None else return_dict) else output.to_tuple()

    def prepare_inputs_for_generation(self, input_ids: Tensor, state: CaptionState | None = None, **kwargs: Any) -> Any:
        """What `generate` calls the model on: the words that ``state`` has not read.

        Args:
            input_ids: (images, times) int64, all words so far.
            state: After the words before; one of other words is left out, and all words are read anew.
            **kwargs: Passed on; ``next_sequence_length`` is not read, as the state says it.
        """
        kwargs.pop("next_sequence_length", None)
        state = state if state is not None and state.begins(input_ids) else None
        read = 0 if state is None else state.words.shape[1]
        return super().prepare_inputs_for_generation(input_ids[:, read:], **kwargs) | {"state": state}

    def _update_model_kwargs_for_generation(
        self, outputs: Any, model_kwargs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        if outputs.state is not None:  # no name that transformers carries of itself
            model_kwargs["state"] = outputs.state
        return super()._update_model_kwargs_for_generation(outputs, model_kwargs, *args, **kwargs)

    def _begin(self, features: Tensor, mask: Tensor | None) -> CaptionState:
        """The state before the first word, with all that depends on the image alone."""
        lstm, size = self.attention_lstm, self.config.hidden_size
        of_image = lstm.weight_ih[:, size : size + self.config.visual_feat_dim]
        image = functional.linear(_mean(features, mask), of_image, lstm.bias_ih + lstm.bias_hh)
        cell = (features.new_zeros(len(features), size),) * 2
        nothing = torch.empty(len(features), 0, dtype=torch.long, device=features.device)
        return CaptionState(nothing, cell, cell, self.box_projection(features), image)

    def _read(
        self, words: Tensor, features: Tensor, mask: Tensor | None, state: CaptionState
    ) -> tuple[Tensor, Tensor, tuple[Cell, Cell]]:
        """States of the language LSTM (images, times, hidden), attention (images, times, objects), and the last cells."""
        lstm, size = self.attention_lstm, self.config.hidden_size
        # What does not depend on the states is projected for all times at once.
        given = functional.linear(words, lstm.weight_ih[:, size + self.config.visual_feat_dim :]) + state.image[:, None]
        attending, speaking = state.attention_cell, state.language_cell
        states, attentions = [], []
        for time in range(words.shape[1]):
            gates = given[:, time] + functional.linear(speaking[0], lstm.weight_ih[:, :size])
            attending = _lstm(gates + functional.linear(attending[0], lstm.weight_hh), attending[1])
            hidden = torch.tanh(state.boxes + self.state_projection(attending[0])[:, None])
            attention = masked_softmax(self.attention_score(hidden)[..., 0], mask)
            attended = torch.bmm(attention[:, None], features)[:, 0]
            speaking = self._speak(torch.cat([attended, attending[0]], -1), speaking)
            states.append(speaking[0])
            attentions.append(attention)
        return torch.stack(states, 1), torch.stack(attentions, 1), (attending, speaking)

    def _speak(self, given: Tensor, before: Cell) -> Cell:
        lstm = self.language_lstm
        gates = functional.linear(given, lstm.weight_ih, lstm.bias_ih)
        return _lstm(gates + functional.linear(before[0], lstm.weight_hh, lstm.bias_hh), before[1])


def _lstm(gates: Tensor, cell: Tensor) -> Cell:
    """State and cell of the next time, from the sums of the four gates in the order of torch: input, forget, cell, output."""
    taken, kept, new, shown = gates.chunk(4, -1)
    cell = torch.sigmoid(kept) * cell + torch.sigmoid(taken) * torch.tanh(new)
    return torch.sigmoid(shown) * torch.tanh(cell), cell


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    if labels.shape != logits.shape[:2]:
        raise ValueError(f"labels has shape {tuple(labels.shape)}, input_ids {tuple(logits.shape[:2])}; they differ.")
    return functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)


def _mean(features: Tensor, mask: Tensor | None) -> Tensor:
    """The mean over the boxes that are not padding, 0 where all are: (images, objects, dims) to (images, dims)."""
    if mask is None:
        return features.mean(1)
    check_mask(mask, features.shape[1])
    real = mask.bool()
    return features.masked_fill(~real[..., None], 0.0).sum(1) / real.sum(1, keepdim=True).clamp_min(1)

"""What guided words cost: a HINT step against a plain one, and words that share a backward against one backward a word.

Words of different captions share a backward, so a batch takes as many as its caption with the most visual words; "one backward
a word" is the same step with a slot for every word. Train mode without dropout, ten visual words in every caption of 19 words.
UpDn with states of half the paper's size, 36 boxes and 5,000 words, gradients at the boxes; ViT and GPT-2 of half the usual
width and four blocks each, 224 pixels, gradients at the last layer of the ViT. Medians of ratios.

generate() is greedy, 20 words for each image of the batch: reading all words anew at every word, against keeping what was read.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from step_ratio import Alternation, ratio
from torch import Tensor, nn
from transformers import GPT2Config, VisionEncoderDecoderConfig, VisionEncoderDecoderModel, ViTConfig

from hf_guidance import Guidance, Term, recipes
from hf_guidance.attributions import GradCAM, WordLogit
from hf_guidance.data.columns import ANNOTATED, IMPORTANCE, ROW, SLOT, TARGET, TIME, WORD_TOKENS
from hf_guidance.families import family_of
from hf_guidance.forward import Forward
from hf_guidance.models import UpDnCaptionerConfig, UpDnForImageCaptioning
from hf_guidance.objectives import CaptionLoss, Energy
from hf_guidance.training.attention import use_differentiable_attention

WORDS, TIMES, VISUAL, OBJECTS, DIMS, PIXELS = 5000, 20, 10, 36, 2048, 224
SIZES = {"hidden_size": 500, "word_size": 500, "attention_size": 256}
WIDTH = 384


def _encoder_decoder() -> nn.Module:
    vision = ViTConfig(hidden_size=WIDTH, num_hidden_layers=4, num_attention_heads=6, intermediate_size=4 * WIDTH,
                       image_size=PIXELS, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)  # fmt: skip
    text = GPT2Config(vocab_size=WORDS, n_embd=WIDTH, n_layer=4, n_head=6, n_positions=TIMES, bos_token_id=1, eos_token_id=2,
                      add_cross_attention=True, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)  # fmt: skip
    model = VisionEncoderDecoderModel(config=VisionEncoderDecoderConfig.from_encoder_decoder_configs(vision, text))
    use_differentiable_attention(model)
    return model


MODELS: dict[str, Callable[[], nn.Module]] = {
    "updn": lambda: UpDnForImageCaptioning(UpDnCaptionerConfig(WORDS, visual_feat_dim=DIMS, **SIZES)),
    "vit_gpt2": _encoder_decoder,
}


class CaptionSetting:
    """One captioner in train mode with a batch of captions, and the steps to time on it."""

    def __init__(self, name: str, captions: int, device: str) -> None:
        torch.manual_seed(0)
        self.model = MODELS[name]().to(device).train()
        self.family = family_of(self.model)
        ids = torch.randint(3, WORDS, (captions, TIMES))
        labels = torch.cat([ids[:, 1:], torch.full((captions, 1), 2)], 1)
        row = [image for image in range(captions) for _ in range(VISUAL)]
        slot = list(range(VISUAL)) * captions
        time_ = [2 * number for number in slot]
        columns: dict[str, Tensor] = {
            "labels": labels,
            TARGET: labels[row, time_],
            WORD_TOKENS: labels[row, time_][:, None],
        }
        if name == "updn":
            self.guidance = recipes.hint_captions(task=1.0)
            columns |= {
                "input_ids": ids, "visual_feats": torch.randn(captions, OBJECTS, DIMS).relu(),
                IMPORTANCE: torch.rand(len(row), OBJECTS),
            }  # fmt: skip
        else:
            energy = Energy(GradCAM("final", WordLogit()))
            self.guidance = Guidance(task=Term(CaptionLoss(), 1.0), energy=energy)
            columns |= {
                "decoder_input_ids": ids, "pixel_values": torch.rand(captions, 3, PIXELS, PIXELS),
                IMPORTANCE: torch.rand(len(row), PIXELS, PIXELS).round(),
            }  # fmt: skip
        self.plain_guidance = Guidance(task=self.guidance["task"])
        self.batch: dict[str, Any] = {key: value.to(device) for key, value in columns.items()}
        self.batch |= {ROW: row, SLOT: slot, TIME: time_, ANNOTATED: [True] * len(row)}

    def plain(self) -> Tensor:
        """The captions alone."""
        return self._step(self.plain_guidance, self.batch)

    def guided(self) -> Tensor:
        """With the visual words, which share backwards."""
        return self._step(self.guidance, self.batch)

    def each_word(self) -> Tensor:
        """The same with one backward for every word."""
        return self._step(self.guidance, self.batch | {SLOT: list(range(len(self.batch[ROW])))})

    def kept(self) -> Tensor:
        """Captions of all images, where each word is read once."""
        return self._said(True)

    def anew(self) -> Tensor:
        """The same captions, where all words so far are read at every word."""
        return self._said(False)

    def _said(self, use_cache: bool) -> Tensor:
        images = {name: self.batch[name] for name in ("visual_feats", "pixel_values") if name in self.batch}
        length = {"max_length": TIMES, "min_length": TIMES}  # as many words for every image, whatever the weights
        self.model.eval()
        said = self.model.generate(**images, **length, do_sample=False, use_cache=use_cache, pad_token_id=0)
        self.model.train()
        return said

    def _step(self, guidance: Guidance, batch: dict[str, Any]) -> Tensor:
        self.model.zero_grad(set_to_none=True)
        loss = guidance(Forward(self.model, self.family, batch, guidance.needs()), None)[0]
        loss.backward()
        return loss.detach()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--captions", type=int, default=8)
    parser.add_argument("--limit", type=float, default=120.0, help="seconds a model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--out", type=Path, default=Path("runs/bench/caption_step.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    alternate = Alternation(args.rounds, args.device, time.perf_counter, args.limit)
    rows = []
    for name in args.models:
        setting = CaptionSetting(name, args.captions, args.device)
        seconds = alternate({"plain": setting.plain, "guided": setting.guided, "each word": setting.each_word})
        rows.append({"model": name, "what": "guided step / plain step", "ratio": ratio(seconds, "guided")})
        shared = ratio(seconds, "each word", "guided")
        rows.append({"model": name, "what": "one backward a word / guided step", "ratio": shared})
        seconds = alternate({"anew": setting.anew, "kept": setting.kept})
        rows.append(
            {"model": name, "what": "generate(), words read anew / once", "ratio": ratio(seconds, "anew", "kept")}
        )
    for row in rows:
        print(f"{row['model']:10s}{row['what']:40s}{row['ratio']:6.2f}")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    conditions = {"captions": args.captions, "words": VISUAL, "threads": args.threads, "device": args.device}
    args.out.write_text(json.dumps({"conditions": conditions, "rows": rows}, indent=2) + "\n")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()

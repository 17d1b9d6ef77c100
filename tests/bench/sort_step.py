"""What SOrT costs: its step against a plain step on the same questions, and against the released scheme; medians of ratios.

Released: reasoning, sub- and irrelevant question are three calls, each with a gradient of its own at the joined vector; images
are encoded three times, cosines are taken one by one, and the module of the joined vector runs twice in a call. Of UpDn that
is the product alone, of LXMERT it runs once; the second result is not used, so no backward is paid for it. Train mode, 14
words, 100 boxes and, for Pythia at the paper's size, a grid of 196 cells of 2048 numbers; 3,129 answers; UpDn at its paper's
size, LXMERT half as wide and a third as deep.
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
from torch.nn import functional as F
from transformers import LxmertConfig, LxmertForQuestionAnswering

from hf_guidance import recipes
from hf_guidance.data.columns import ANNOTATED, GROUP, ROLE, SAME_IMAGE
from hf_guidance.families import family_of
from hf_guidance.forward import Forward
from hf_guidance.guidance import Guidance
from hf_guidance.models import PythiaConfig, PythiaForQuestionAnswering, UpDnConfig, UpDnForQuestionAnswering
from hf_guidance.views.layers import FUSION

OBJECTS, CELLS, DIMS, LENGTH, WORDS, ANSWERS = 100, 196, 2048, 14, 5000, 3129
WEIGHTS = (2.27, 2.27, 0.0003)


def _lxmert() -> nn.Module:
    config = LxmertConfig(
        vocab_size=WORDS, hidden_size=384, num_attention_heads=6, intermediate_size=1536, l_layers=3, r_layers=2,
        x_layers=2, num_qa_labels=ANSWERS,
    )  # fmt: skip
    return LxmertForQuestionAnswering(config)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "pythia": lambda: PythiaForQuestionAnswering(PythiaConfig(WORDS, num_labels=ANSWERS)),
    "updn": lambda: UpDnForQuestionAnswering(
        UpDnConfig(WORDS, num_labels=ANSWERS, attention_dropout=0.0, classifier_dropout=0.0)
    ),
    "lxmert": _lxmert,
}


class SortSetting:
    """One model in train mode with triples of questions, and the steps to time on them."""

    def __init__(self, name: str, triples: int, device: str, objects: int = OBJECTS, cells: int = CELLS) -> None:
        torch.manual_seed(0)
        self.name, self.triples = name, triples
        self.model = MODELS[name]().to(device).train()
        for module in self.model.modules():  # or the schemes would drop different entries
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        self.family = family_of(self.model)
        self.guidance = recipes.sort()
        self.plain_guidance = Guidance(task=self.guidance["task"])
        questions = 3 * triples
        labels = torch.zeros(questions, ANSWERS)
        labels[torch.arange(questions), torch.randint(ANSWERS, (questions,))] = 1
        images = {
            "visual_feats": torch.randn(triples, objects, DIMS).relu(),
            "visual_pos": torch.rand(triples, objects, 4),
            "visual_attention_mask": torch.ones(triples, objects, dtype=torch.long),
        }
        if "grid_feats" in self.family.inputs:
            images["grid_feats"] = torch.randn(triples, cells, DIMS).relu()
        columns = {name: value.repeat_interleave(3, 0) for name, value in images.items()} | {
            "input_ids": torch.randint(1, WORDS - 1, (questions, LENGTH)),
            "attention_mask": torch.ones(questions, LENGTH, dtype=torch.long),
            "labels": labels,
            "target": labels.argmax(1),
        }
        self.batch: dict[str, Any] = {key: value.to(device) for key, value in columns.items()}
        self.batch |= {ROLE: [0, 1, 2] * triples, GROUP: [row // 3 for row in range(questions)]}
        self.batch |= {ANNOTATED: [True] * questions, SAME_IMAGE: self.batch[GROUP]}

    def plain(self) -> Tensor:
        """The answers alone, of all questions."""
        return self._step(self.plain_guidance)

    def guided(self) -> Tensor:
        """SOrT."""
        return self._step(self.guidance)

    def _step(self, guidance: Guidance) -> Tensor:
        self.model.zero_grad(set_to_none=True)
        loss = guidance(Forward(self.model, self.family, self.batch, guidance.needs()))[0]
        loss.backward()
        return loss.detach()

    def released(self) -> Tensor:
        """SOrT as the released code computes it."""
        self.model.zero_grad(set_to_none=True)
        layer, joined = self.model.get_submodule(self.family.path(FUSION, self.model)), []

        def twice(module: nn.Module, inputs: Any, output: Tensor) -> None:
            if self.name != "lxmert":  # whose layer is no product
                module.forward(*inputs)
            joined.append(output)

        hook = layer.register_forward_hook(twice)
        vectors, loss = [], torch.zeros(())
        for role in range(3):
            inputs = {name: self.batch[name][role::3] for name in self.family.inputs if name in self.batch}
            labels, target = (self.batch[name][role::3] for name in ("labels", "target"))
            logits = self.model(**inputs)[self.family.logits]
            scores = logits.gather(1, target[:, None]).sum()
            (gradient,) = torch.autograd.grad(scores, joined[-1], create_graph=True)
            vectors.append(joined[-1] * gradient)
            answers = F.binary_cross_entropy_with_logits(logits, labels, reduction="none").sum(1).mean()
            loss = loss + WEIGHTS[role] * answers
        hook.remove()
        parts = []
        for one, sub, other in zip(*vectors, strict=True):
            near, far = (F.cosine_similarity(one, each, dim=0) for each in (sub, other))
            parts.append((far - near).relu())
        loss = loss + torch.stack(parts).mean()
        loss.backward()
        return loss.detach()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--quick", action="store_true", help="few repeats, few boxes: does it run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--triples", type=int, default=16)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds a model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--out", type=Path, default=Path("runs/bench/sort_step.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    triples, objects, cells, rounds = (2, 6, 4, 1) if args.quick else (args.triples, OBJECTS, CELLS, args.rounds)
    alternate = Alternation(rounds, args.device, time.perf_counter, args.limit)
    rows = []
    for name in args.models:
        setting = SortSetting(name, triples, args.device, objects, cells)
        seconds = alternate({"plain": setting.plain, "guided": setting.guided, "released": setting.released})
        rows.append({"model": name, "what": "SOrT step / plain step", "ratio": ratio(seconds, "guided")})
        rows.append(
            {"model": name, "what": "released scheme / SOrT step", "ratio": ratio(seconds, "released", "guided")}
        )
    for row in rows:
        print(f"{row['model']:8s}{row['what']:40s}{row['ratio']:6.2f}")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    conditions = {
        "triples": triples,
        "objects": objects,
        "cells": cells,
        "threads": args.threads,
        "device": args.device,
    }
    args.out.write_text(json.dumps({"conditions": conditions, "rows": rows}, indent=2) + "\n")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()

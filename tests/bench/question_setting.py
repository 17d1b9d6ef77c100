"""UpDn and LXMERT on random questions at the papers' sizes, and the steps that the benchmark of questions times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LxmertConfig, LxmertForQuestionAnswering

from hf_guidance import recipes
from hf_guidance.attributions import LeaveOneOut, SoftLabelLogits
from hf_guidance.families import family_of
from hf_guidance.forward import Forward
from hf_guidance.guidance import Guidance
from hf_guidance.models import UpDnConfig, UpDnForQuestionAnswering
from hf_guidance.objectives import Alignment, InvarianceFI

OBJECTS, DIMS, LENGTH, WORDS, ANSWERS = 36, 2048, 14, 5000, 1000
METHOD = LeaveOneOut(target=SoftLabelLogits())


def _updn() -> nn.Module:
    return UpDnForQuestionAnswering(UpDnConfig(vocab_size=WORDS, num_labels=ANSWERS))


def _lxmert() -> nn.Module:
    # The widths and depths of the paper's model would take minutes a step on two cores: half as wide, a third as deep.
    config = LxmertConfig(
        vocab_size=WORDS, hidden_size=384, num_attention_heads=6, intermediate_size=1536, l_layers=3, r_layers=2,
        x_layers=2, num_qa_labels=ANSWERS,
    )  # fmt: skip
    return LxmertForQuestionAnswering(config)


MODELS: dict[str, Callable[[], nn.Module]] = {"updn": _updn, "lxmert": _lxmert}


class QuestionSetting:
    """One model in train mode with one batch of questions, and the steps to time on them."""

    def __init__(self, name: str, batch: int, device: str, objects: int = OBJECTS) -> None:
        torch.manual_seed(0)
        self.name, self.device = name, device
        self.model = MODELS[name]().to(device).train()
        self.family = family_of(self.model)
        self.guidance = recipes.visfis(name)
        labels = torch.zeros(batch, ANSWERS)
        labels[torch.arange(batch), torch.randint(ANSWERS, (batch,))] = 1
        columns = {
            "input_ids": torch.randint(1, WORDS - 1, (batch, LENGTH)),
            "attention_mask": torch.ones(batch, LENGTH, dtype=torch.long),
            "visual_feats": torch.randn(batch, objects, DIMS).relu(),
            "visual_pos": torch.rand(batch, objects, 4),
            "visual_attention_mask": torch.ones(batch, objects, dtype=torch.long),
            "labels": labels,
            "target": labels.argmax(1),
            "importance": torch.rand(batch, objects),
        }
        self.batch: dict[str, Any] = {key: value.to(device) for key, value in columns.items()}

    def plain(self) -> None:
        """Forward, cross-entropy, backward: the model alone."""
        self.model.zero_grad(set_to_none=True)
        inputs = {name: self.batch[name] for name in self.family.inputs if name in self.batch}
        logits = self.model(**inputs)[self.family.logits]
        F.cross_entropy(logits, self.batch["target"]).backward()

    def guided(self, guidance: Guidance | None = None) -> None:
        """A step of GuidedTrainer with every row annotated."""
        guidance = self.guidance if guidance is None else guidance
        self.model.zero_grad(set_to_none=True)
        forward = Forward(self.model, self.family, self.batch, guidance.needs())
        self.last_loss = guidance(forward)[0]
        self.last_loss.backward()

    def leave_one_out(self) -> None:
        """Importance of every box by leaving it out, and its backward."""
        self.model.zero_grad(set_to_none=True)
        forward = Forward(self.model, self.family, self.batch, METHOD.needs())
        forward.attribution(METHOD).square().sum().backward()

    def naive_leave_one_out(self) -> None:
        """The same as research code has it: a loop over boxes, each copy edited, its question encoded anew."""
        self.model.zero_grad(set_to_none=True)
        full = self._scores(self.batch["visual_feats"]).detach()
        parts = []
        for index in range(self.batch["visual_feats"].shape[1]):
            edited = self.batch["visual_feats"].clone()
            edited[:, index] = -1.0
            parts.append(full - self._scores(edited))
        torch.stack(parts, 1).square().sum().backward()

    def naive_guided(self) -> None:
        """VisFIS as research code has it: full input and views are one batch of three times the size, all encoded anew."""
        self.model.zero_grad(set_to_none=True)
        threshold = self.guidance["sufficiency"].objective.threshold
        features, importance = self.batch["visual_feats"], self.batch["importance"]
        important = (importance > threshold)[..., None]
        views = [features, torch.where(important, features, -1.0), torch.where(important, -1.0, features)]
        stacked = torch.cat(views).requires_grad_()
        inputs = {name: self.batch[name] for name in self.family.inputs if name in self.batch}
        tripled = {name: torch.cat([value] * 3) for name, value in inputs.items()} | {"visual_feats": stacked}
        logits = self.model(**tripled)[self.family.logits]
        full, kept, rest = logits.chunk(3)
        scores = (full * (self.batch["labels"] > 0)).sum()
        (gradient,) = torch.autograd.grad(scores, stacked, create_graph=True)
        attribution = gradient[: len(features)].sum(2)
        objectives = {name: term.objective for name, term in self.guidance.items()}
        count = important.any(1)[:, 0].float()
        rows = {
            "task": objectives["task"].loss(full, self.batch["labels"]),
            "sufficiency": count * objectives["sufficiency"].loss(kept, self.batch["labels"]),
            "uncertainty": count * objectives["uncertainty"].loss(rest),
            "invariance_fi": count * InvarianceFI.loss(attribution, importance, threshold=threshold),
            "alignment": count * Alignment.loss(attribution, importance),
        }
        self.last_loss = sum(self.guidance[name].weight * value.mean() for name, value in rows.items())
        self.last_loss.backward()

    def _scores(self, features: Tensor) -> Tensor:
        inputs = {name: self.batch[name] for name in self.family.inputs if name in self.batch}
        logits = self.model(**(inputs | {"visual_feats": features}))[self.family.logits]
        return (logits * (self.batch["labels"] > 0)).sum(1)

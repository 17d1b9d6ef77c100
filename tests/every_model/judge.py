"""The judge: what the library makes of a model at three layers, through its public interface alone."""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PrinterCallback, TrainerCallback

import hf_guidance
from every_model.candidate import CLASSES, Candidate, images_of
from every_model.location import Location, disturbed, located
from every_model.middle import middle_path
from every_model.weights import fit_norms, open_every_path
from hf_guidance import GuidanceArguments, GuidedTrainer
from hf_guidance.attributions import GradCAM, InputXGradient
from hf_guidance.families import family_of
from hf_guidance.forward import Forward, Needs
from hf_guidance.guidance import Guidance
from hf_guidance.objectives import Energy
from hf_guidance.views import FULL

RIGHT, WRONG, REFUSED, CRASHED = "right", "WRONG", "refused", "crashed"
LAYERS = ("input", "final", "path")
_IMAGES = (1, 4)  # four where one is in doubt
_PACKAGE = str(Path(hf_guidance.__file__).parent)


@dataclass(frozen=True)
class Verdict:
    """What came of one layer.

    Attributes:
        verdict: RIGHT; WRONG: read without a word, but not where the image is, or without gradient; REFUSED: a ValueError of
            the library; CRASHED: any other exception.
        stage: Where it ended: "family", "construction" of the trainer, "activation", "location", "gradient", "training".
        why: The first line of the reason, or figures of the location.
    """

    verdict: str
    stage: str
    why: str


class Failed(Exception):
    """An answer of the library that is wrong."""


def judge(candidate: Candidate) -> dict[str, Any]:
    """Judge a model at "input", "final" and a module path in its middle.

    Returns:
        A record for a line of JSON: the model, its ``path``, ``layers`` (layer -> Verdict as a dict), ``seconds``; and
        ``not_built``, the reason where the model itself cannot be made, else None.
    """
    start = time.monotonic()
    record: dict[str, Any] = {name: getattr(candidate, name) for name in ("key", "source", "kind", "name", "size")}
    record |= {"not_built": None, "path": None, "layers": {}}
    try:
        model, path = _prepared(candidate)
    except Exception as error:
        return record | {"not_built": _first_line(error)}
    layers = dict(zip(LAYERS, ("input", "final", path), strict=True))
    verdicts = _Trial(model, candidate).verdicts(list(layers.values()))
    found = {name: asdict(verdicts[layer]) for name, layer in layers.items()}
    return record | {"path": path, "layers": found, "seconds": round(time.monotonic() - start, 1)}


def _prepared(candidate: Candidate) -> tuple[nn.Module, str]:
    model = candidate.build()
    open_every_path(model)
    return model, middle_path(model, candidate.columns(images_of(candidate, 1)))


class _Trial:
    """One model, asked for more and more; a layer that fails is out."""

    def __init__(self, model: nn.Module, candidate: Candidate) -> None:
        self.model, self.candidate = model, candidate
        self.found: dict[str, Verdict] = {}

    def verdicts(self, layers: list[str]) -> dict[str, Verdict]:
        self.each("family", layers, lambda layer: family_of(self.model))
        with tempfile.TemporaryDirectory() as folder:
            self.together("construction", self.left(layers), lambda left: self.construct(left, folder))
            places = self.locate(self.left(layers))
            self.together("gradient", self.left(layers), self.gradients)
            self.together("training", self.left(layers), lambda left: self.train(left, folder))
        right = {layer: Verdict(RIGHT, "training", str(places[layer])) for layer in self.left(layers)}
        return self.found | right

    def locate(self, layers: list[str]) -> dict[str, Location | None]:
        """Where the activations lie; None where they have no places."""
        places: dict[str, Location | None] = {}
        for count in _IMAGES:
            doubtful = [layer for layer in self.left(layers) if not (layer in places and _is_right(places[layer]))]
            places |= self.together("activation", doubtful, partial(self.places, count=count))
        self.each("location", self.left(layers), lambda layer: _demand_right(places[layer]))
        return places

    def left(self, layers: list[str]) -> list[str]:
        return [layer for layer in layers if layer not in self.found]

    def each(self, stage: str, layers: list[str], ask: Callable[[str], Any]) -> dict[str, Any]:
        results = {}
        for layer in layers:
            with self.noting(stage, layer):
                results[layer] = ask(layer)
        return results

    def together(self, stage: str, layers: list[str], ask: Callable[[list[str]], dict[str, Any]]) -> dict[str, Any]:
        """Ask for all layers at once, which is cheaper; one by one where that fails."""
        try:
            return ask(layers) if layers else {}
        except Exception:
            return {
                k: v for one in self.each(stage, layers, lambda layer: ask([layer])).values() for k, v in one.items()
            }

    @contextmanager
    def noting(self, stage: str, layer: str) -> Iterator[None]:
        try:
            yield
        except Failed as error:
            self.found[layer] = Verdict(WRONG, stage, str(error))
        except Exception as error:
            self.found[layer] = Verdict(REFUSED if _is_refusal(error) else CRASHED, stage, _first_line(error))

    def batch(self, images: Tensor) -> dict[str, Any]:
        labels = torch.arange(len(images)) % 2
        return dict(self.candidate.columns(images)) | {"labels": labels, "target": labels}

    def places(self, layers: list[str], count: int) -> dict[str, Location | None]:
        images = images_of(self.candidate, count).split(1)
        shown = [torch.cat([image, disturbed(image, seed=7 + number)]) for number, image in enumerate(images)]
        fit_norms(self.model, self.candidate.columns(torch.cat(shown)))
        read = [self.activations(layers, these) for these in shown]
        joined = {layer: torch.stack([activations[layer] for activations in read], dim=1) for layer in layers}
        return {layer: located(a[0], a[1:].flatten(0, 1)) if a.dim() == 5 else None for layer, a in joined.items()}

    def activations(self, layers: list[str], images: Tensor) -> dict[str, Tensor]:
        batch = self.batch(images)
        with torch.no_grad():
            forward = Forward(self.model, family_of(self.model), batch, Needs((FULL, layer) for layer in layers))
            found = {layer: forward.activation(layer).detach() for layer in layers}
        for activation in found.values():
            if len(activation) != len(images):
                raise Failed(f"the activation of {len(images)} images has shape {tuple(activation.shape)}")
        return found

    def gradients(self, layers: list[str]) -> dict[str, Any]:
        methods = {layer: _method(layer) for layer in layers}
        needs = Needs(need for method in methods.values() for need in method.needs())
        with torch.no_grad():
            forward = Forward(self.model, family_of(self.model), self.batch(images_of(self.candidate, 2)), needs)
            for layer, method in methods.items():
                _check_gradient(forward.gradient(layer, method.target), forward.attribution(method))
        return {}

    def trainer(self, layers: list[str], folder: str) -> GuidedTrainer:
        terms = {f"term{index}": Energy(_method(layer)) for index, layer in enumerate(layers)}
        args = GuidanceArguments(
            output_dir=folder, max_steps=1, per_device_train_batch_size=2, learning_rate=1e-4, report_to="none",
            save_strategy="no", logging_steps=1, use_cpu=True, disable_tqdm=True, dataloader_pin_memory=False,
        )  # fmt: skip
        rows = [_row(self.candidate, number) for number in range(2)]
        trainer = GuidedTrainer(self.model, args, train_dataset=rows, guidance=Guidance(terms))
        trainer.remove_callback(PrinterCallback)
        return trainer

    def construct(self, layers: list[str], folder: str) -> dict[str, Any]:
        self.trainer(layers, folder)
        return {}

    def train(self, layers: list[str], folder: str) -> dict[str, Any]:
        kept = {name: value.clone() for name, value in self.model.state_dict().items()}
        try:
            self.step(layers, folder)
        finally:  # a step that fails must not spoil the model for the next
            self.model.load_state_dict(kept)
        return {}

    def step(self, layers: list[str], folder: str) -> None:
        trainer, watch = self.trainer(layers, folder), _GradientWatch()
        trainer.add_callback(watch)
        trainer.train()
        losses = {k: v for logs in trainer.state.log_history for k, v in logs.items() if k.startswith("loss")}
        if len(losses) != len(layers) + 2 or not all(torch.isfinite(torch.tensor(list(losses.values())))):
            raise Failed(f"a training step logged {losses}")
        if not watch.finite:
            raise Failed("a training step gave no gradient, or one that is not finite")


class _GradientWatch(TrainerCallback):
    """Whether the gradients of a step are finite, and some of them not zero."""

    finite = False

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        gradients = [p.grad for p in kwargs["model"].parameters() if p.grad is not None]
        self.finite = all(bool(g.isfinite().all()) for g in gradients) and any(bool(g.any()) for g in gradients)


def _method(layer: str) -> Any:
    return InputXGradient(layer) if layer == "input" else GradCAM(layer)


def _row(candidate: Candidate, number: int) -> dict[str, Any]:
    """A row whose upper left quarter is annotated; other columns than pixels stay what a processor gives."""
    columns = candidate.columns(images_of(candidate, 1, seed=number))
    row = {name: values[0] for name, values in columns.items()}
    height, width = candidate.size
    box = {"bbox": [0.0, 0.0, width / 2, height / 2], "category": number % CLASSES}
    return row | {"labels": number % CLASSES, "objects": [box]}


def _is_right(place: Location | None) -> bool:
    return place is not None and place.right


def _demand_right(place: Location | None) -> None:
    if not _is_right(place):
        raise Failed("the activation has no height and width" if place is None else str(place))


def _check_gradient(gradient: Tensor, maps: Tensor) -> None:
    if not bool(gradient.isfinite().all() and maps.isfinite().all()):
        raise Failed("the gradient or the map is not finite")
    if not bool(gradient.any()):
        raise Failed("the gradient is zero at every place")
    if maps.shape[1:] != gradient.shape[2:]:
        raise Failed(f"the map has shape {tuple(maps.shape)}, the gradient {tuple(gradient.shape)}")


def _is_refusal(error: Exception) -> bool:
    # A ValueError of torch, timm or transformers is no refusal: it does not speak of guidance.
    frames = traceback.extract_tb(error.__traceback__)
    return isinstance(error, ValueError) and frames[-1].filename.startswith(_PACKAGE)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else ""
    return text if _is_refusal(error) else f"{type(error).__name__}: {text}"

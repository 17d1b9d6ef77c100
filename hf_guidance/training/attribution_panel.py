"""AttributionPanel: the same eight images during training, with what the model looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from transformers.utils import logging

from hf_guidance.attributions import Attribution
from hf_guidance.common.checks import check_count
from hf_guidance.common.generators import generators_kept
from hf_guidance.common.sharding import gathered, is_sharded
from hf_guidance.common.whole_file import whole_file
from hf_guidance.guidance.expression import method_text
from hf_guidance.training.attached import AttachedCallback
from hf_guidance.training.compatibility import refuse_unsupported
from hf_guidance.training.panels.drawing import panel_picture
from hf_guidance.training.panels.maps import PanelMaps, panel_maps
from hf_guidance.training.panels.record import PanelRecord, file_of
from hf_guidance.training.panels.rows import PanelRows, panel_rows
from hf_guidance.training.panels.writers import Writers

logger = logging.get_logger(__name__)

FOLDER = "panels"
NAME = "panel/attributions"


class AttributionPanel(AttachedCallback):
    """Draw the same rows before, during and after training: images with their boxes and maps, questions as bars.

    Of captions every visual word is drawn: the image of the row, or its boxes, with the outline of what people look at for the
    word and the map of the word over it, under the probability that the model gives it.

    The pictures are ``<output_dir>/panels/step-000100.png``, with panels.json beside them, which names the rows and has the
    unweighted losses of the terms on them. Picture and losses (as "panel/loss/<term>") also go to TensorBoard, Weights &
    Biases and trackio, where ``report_to`` names them; another integration is named once in a warning. The losses of the
    whole training are in Trainer's own log.

    Training is the same with and without it, bit by bit: the model is called in eval mode without a graph, and all random
    number generators go on as if nothing had been drawn. Only the main process draws. A resumed run goes on with the rows
    and draws no step again that it has; panels of steps after the checkpoint are drawn anew. A run from step 0 removes the
    panels of an earlier one. In a hyperparameter search the folders are ``panels-0``, ``panels-1`` and so on.

    What cannot be drawn at all is an error before the first step. After it, a picture that fails, for example because the
    disk is full, is a warning with the step and the reason, and training goes on: a picture is not worth a run.

    Args:
        attribution: The method of the maps; by default that of the first term on attributions, else that of the trainer's
            grounding. An unguided run has neither by itself.
        rows: Which rows: indices of the evaluation set (of the training set where there is none), or rows themselves. By
            default the first annotated rows of the evaluation set, or of the training set where that has none.
        count: How many rows are chosen where none are given.
        every_steps: Draw after every so many steps; by default at each evaluation. The model before training and the one of
            the last step are drawn in any case.

    Raises:
        ValueError: On construction, an option that cannot be right. When training begins: the trainer is no GuidedTrainer,
            there is no attribution, no annotated row, or a setting under which attributions fail.

    Requirements:
        A GuidedTrainer, which attaches itself.

    Example:
        >>> trainer = GuidedTrainer(..., guidance=guidance, callbacks=[AttributionPanel(every_steps=100)])
        >>> trainer.train()
    """

    def __init__(
        self,
        attribution: Attribution | None = None,
        rows: Sequence[int] | Sequence[Mapping[str, Any]] | Any = None,
        count: int = 8,
        every_steps: int | None = None,
    ) -> None:
        super().__init__()
        if attribution is not None and not hasattr(attribution, "needs"):
            raise ValueError(f"attribution={attribution!r} is a {type(attribution).__name__}; give one, as GradCAM().")
        check_count("count", count, self)
        if every_steps is not None:
            check_count("every_steps", every_steps, self)
        self.attribution, self.rows, self.count, self.every_steps = attribution, rows, count, every_steps
        self._trials, self._training, self._drawing = 0, False, False  # all processes train, the main one draws
        self._rows: PanelRows | None = None
        self._record = PanelRecord(Path(FOLDER))
        self._writers = Writers()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Choose the rows, and draw the model as it is.

        Raises:
            ValueError: See the class.
        """
        trainer = self._own_trainer(state)
        folder = Path(args.output_dir) / FOLDER
        if state.is_hyper_param_search:
            folder = folder.with_name(f"{FOLDER}-{self._trials}")
            self._trials += 1
        self._training, self._drawing = True, bool(state.is_world_process_zero)
        if is_sharded(trainer.model) and not trainer.keeps_whole:
            raise ValueError(
                "AttributionPanel in a run without terms on a model that FSDP2 shards: only the main process draws, and needs "
                "the weights of all. Give the trainer a grounding=Grounding(...), for whose maps they are kept whole, or "
                "train with DistributedDataParallel."
            )
        with gathered(trainer.model):
            if self._drawing:
                self._begin(args, state, trainer, folder)

    def _begin(self, args: Any, state: Any, trainer: Any, folder: Path) -> None:
        refuse_unsupported(args, trainer.model, trainer.accelerator)
        with generators_kept(args.device):  # rows and collators may draw, as augmentations do
            self._rows = panel_rows(trainer, self.rows, self.count)
        shown = {
            "origin": self._rows.origin,
            "rows": list(self._rows.indices),
            "attribution": method_text(self._method()),
        }
        self._record = PanelRecord(folder)
        if changed := self._record.begin(shown, state.global_step):
            logger.warning(f"{folder}: from step {state.global_step} on, panels have other {changed} than before.")
        maps = panel_maps(trainer, self._rows, self._method())  # raises here what would fail at every step
        self._try(state.global_step, maps)

    def _draw_now(self, step: int) -> None:
        with gathered(self.trainer.model):
            if self._drawing:
                self._try(step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Draw after every ``every_steps`` steps, and after the last one."""
        due = self.every_steps is not None and state.global_step % self.every_steps == 0
        if self._training and (due or control.should_training_stop):
            self._draw_now(state.global_step)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        """Draw at an evaluation during training, unless ``every_steps`` says when."""
        if self._training and self.every_steps is None:
            self._draw_now(state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop: later evaluations are of the finished model."""
        self._training = self._drawing = False

    def _own_trainer(self, state: Any) -> Any:
        trainer = self.trainer
        if trainer is None or trainer.state is not state:
            raise ValueError(
                "AttributionPanel reads the family and the collator of a GuidedTrainer, and this run is not of the one that "
                "has it; pass it as callbacks=[AttributionPanel()] to a GuidedTrainer, a new one to each."
            )
        return trainer

    def _method(self) -> Attribution:
        if self.attribution is not None:
            return self.attribution
        for term in self.trainer.guidance.on_attributions.values():
            return term.objective.attribution.by_place()  # type: ignore[no-any-return]
        if self.trainer.grounding is not None:
            return self.trainer.grounding.attribution  # type: ignore[no-any-return]
        raise ValueError("the guidance has no term on attributions; give one: AttributionPanel(attribution=GradCAM()).")

    def _try(self, step: int, maps: PanelMaps | None = None) -> None:
        if self._record.has(step):
            return
        try:
            self._draw(step, maps)
        except Exception as error:  # a picture is not worth a run
            logger.warning(
                f"the attribution panel of step {step} was not drawn, and training goes on: {type(error).__name__}: {error}"
            )

    def _draw(self, step: int, maps: PanelMaps | None) -> None:
        assert self._rows is not None
        maps = panel_maps(self.trainer, self._rows, self._method()) if maps is None else maps
        losses = "   ".join(f"{name} {value:.3g}" for name, value in maps.losses.items())
        picture = panel_picture(maps, f"step {step}   {self._method()!r}   {losses}")
        scalars = {f"panel/{name}": value for name, value in maps.losses.items()}
        self._writers.send(self.trainer, NAME, picture, scalars, step)
        with whole_file(self._record.folder / file_of(step)) as draft:
            Image.fromarray(picture).save(draft, optimize=True)
        self._record.add(step, maps.losses, sum(drawn.dead for drawn in maps.drawn))

"""Forward: one step of one model. Every view is computed once; gradients and attributions are memoised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hf_guidance.common.wrappers import unwrapped
from hf_guidance.data.columns import IMPORTANCE
from hf_guidance.families import Family
from hf_guidance.families.structure.places import settle
from hf_guidance.forward.batch_norm import couples_images
from hf_guidance.forward.calls import Edit, ViewCall, call_edits, call_full, each_call
from hf_guidance.forward.edited_images import edit_of, images_with_rows, keep_others, of_images, spread
from hf_guidance.forward.gradients import cam_gradient, slotwise_gradient
from hf_guidance.forward.groups import by_row_count
from hf_guidance.forward.maps import full_precision
from hf_guidance.forward.model_outputs import ModelOutputs
from hf_guidance.forward.protocols import AttributionMethod, ExplainedScore
from hf_guidance.forward.same_images import once_per_image
from hf_guidance.forward.shortcuts import reduced, takes_backward
from hf_guidance.views import FULL, Needs, View
from hf_guidance.views.layers import is_attention, is_input
from hf_guidance.views.order import layers_by_view


class Forward(ModelOutputs):
    """The model's outputs on one batch, and what attributions and objectives derive from them.

    The first model call is on the full input alone. Views of which only the logits are read are stacked into one call; they
    re-use the full input's encodings if the family can.

    Rows are explained rows, as in BatchColumns. Gradients cost one backward per slot, whatever the number of explained rows;
    if they are not differentiated again, every image takes part in as many backwards as it has explained rows.

    The graph of gradients is kept (second order) if the caller has gradients enabled; under ``torch.no_grad()``
    attributions are still computed, without a graph.

    Args:
        model: The model, possibly wrapped (DistributedDataParallel); the wrapper is called once, for FULL.
        family: The family of the model.
        batch: Column name -> tensor; ``row``, ``slot`` and ``annotated`` are lists on the host.
        needs: All views and layers that will be read.
        max_rows: Images per model call for views other than FULL. None for all copies in one call, or where no graph is kept
            and gradients are taken, as many as suit the device.

    Raises:
        ValueError: A needed layer does not exist, the features are missing, or the output of a module cannot be recorded.
    """

    def __init__(
        self, model: nn.Module, family: Family, batch: Mapping[str, Any], needs: Needs, *, max_rows: int | None = None
    ) -> None:
        super().__init__(family, batch)
        self.create_graph = torch.is_grad_enabled()
        self._module: nn.Module = unwrapped(model)
        family.check_call(self._module)
        self._max_rows = max_rows
        self._edited = images_with_rows(batch, self.row, self.images) if family.images and not family.shared else None
        self._families: dict[str, Family] = {}
        layers = layers_by_view(reduced(Needs(needs), family))
        backward = any(takes_backward(family, FULL, layer) for layer in layers[FULL])
        settle(self._module)  # a step needs the memory
        # Without second derivatives, images need not take part in the backwards of images with more explained rows.
        apart = backward and not self.create_graph and any(self.slot) and len(layers) == 1 and not couples_images(model)
        self._groups = by_row_count(self.row, self.images) if apart else None
        self._calls: dict[View, ViewCall] = {}
        self._later: dict[View, tuple[list[str], Edit, Tensor, Tensor]] = {}  # called when a gradient is asked for
        once = once_per_image(self._module, family, batch, layers[FULL])
        with torch.set_grad_enabled(self.create_graph or backward), once:
            self._calls[FULL], self._full = call_full(
                model, family, self._inputs(), layers.pop(FULL), differentiate=backward, twice=self.create_graph,
                share=bool(layers), groups=self._groups,
            )  # fmt: skip
        if layers:
            self._call_views(layers)

    # Outputs

    def logits(self, view: View = FULL) -> Tensor:
        """(images, classes) for FULL, (copies, images, classes) for other views; of captions (..., times, vocabulary).

        Views of images are not called for images without annotated explained row, where the batch has a column "annotated" and
        no BatchNorm in train mode: their logits are 0.
        """
        logits = self._call(view).logits
        return logits[0] if view == FULL else logits

    def weights(self, target: ExplainedScore) -> Tensor:
        """Class weights (rows, classes) of a target at the logits of the full input; constants where it is linear."""
        weights = self._once(("weights", target), lambda: target(self._logits_explained(), self))
        return weights.detach() if target.linear else weights

    def scores(self, target: ExplainedScore, view: View = FULL) -> Tensor:
        """Explained scores: (rows,) for FULL, (copies, rows) for other views."""
        scores = target.of_rows(self._call(view).logits, self)
        return scores[0] if view == FULL else scores

    def _logits_explained(self) -> Tensor:
        return self.logits_of_rows(self._call(FULL).logits)[0]

    def activation(self, layer: str, view: View = FULL) -> Tensor:
        """Activation at a layer, by explained rows: (rows, channels, *space) or (rows, features).

        Of other views than FULL the copies come first: (copies, rows, channels, *space).
        """
        if layer not in self._call(view).layers:
            raise ValueError(f"layer {layer!r} was not among the needs of this Forward; declare it in needs().")
        raw = self._call(view).layers[layer]
        if view == FULL:
            full = self._to_space(layer, self._of_images(raw))
            timed = is_attention(layer) and self.time is not None
            return full_precision(full[self.rows_and_times()] if timed else self.of_rows(full))
        copies = self._to_space(layer, torch.cat(raw)).unflatten(0, (-1, self.images))
        return full_precision(copies if self._row is None else copies.index_select(1, self._row))

    def fill(self, view: View) -> Tensor:
        """What a view other than FULL replaces by, as drawn in this step; broadcasts against the layer's activation."""
        fill = self._later[view][2] if view in self._later else self._call(view).fill
        assert fill is not None, "FULL replaces nothing"
        return fill if fill.dim() == 0 else full_precision(self.of_rows(fill))

    def keep(self, view: View) -> Tensor:
        """What a view other than FULL keeps, as drawn in this step: (copies, images or 1, *space or ones).

        The mask is on the device where the keep made it: masks that do not depend on the batch, such as coalitions, are on
        the host.
        """
        keep = self._later[view][3] if view in self._later else self._call(view).keep
        assert keep is not None, "FULL keeps everything"
        return keep

    def gradient(self, layer: str, target: ExplainedScore, view: View = FULL, *, fixed_weights: bool = False) -> Tensor:
        """d (score of an explained row) / d (activation of its image), for all rows in one backward per slot.

        At the layer "final" of a (mean, Linear) head it is ``W_c / (height * width)``, without autograd.

        Args:
            layer: Layer of the activation; it must be among the needs of ``view``.
            target: The target, which gives the score.
            view: The view on whose copies the gradient is taken.
            fixed_weights: Whether dynamic weights (of B-cos models) count as constants.

        Returns:
            (rows, channels, *space) for FULL, (copies, rows, channels, *space) for other views. It can be
            differentiated again when the Forward was built with gradients enabled.
        """
        key = ("gradient", layer, target, view, fixed_weights)
        return self._once(key, lambda: self._gradient(layer, target, view, fixed_weights))

    def attribution(self, method: AttributionMethod) -> Tensor:
        """Map of an attribution method, (rows, *space) in full precision; equal methods are computed once."""
        return self._once(method, lambda: self._attribution(method))

    # Private

    def _call(self, view: View) -> ViewCall:
        if view in self._later:
            names, edit, fill, keep = self._later.pop(view)
            self._call_together([view], names, {view: (edit, fill, keep)})
        if view not in self._calls:
            raise ValueError(f"{view} was not among the needs of this Forward; declare it in needs().")
        return self._calls[view]

    def _inputs(self) -> dict[str, Any]:
        given = {name: self.batch[name] for name in self.family.inputs if name in self.batch}
        return given | dict(self.family.arguments)

    def _to_space(self, layer: str, raw: Tensor) -> Tensor:
        if is_attention(layer):
            return raw
        if is_input(layer):
            return self.family.canonical(raw)
        family = self._of_layer(layer)
        activation = family.spatial(raw, self._image_size)
        self._note_seen(family, activation)
        return activation

    def _of_layer(self, layer: str) -> Family:
        if layer not in self._families:
            found = self.family.of_layer(self.family.path(layer, self._module), self._module)
            self._families[layer] = found
        return self._families[layer]

    def _call_views(self, layers: Mapping[View, list[str]]) -> None:
        edits = {view: self._edit(view) for view in layers}  # drawn in one order, however calls are stacked
        stack = not couples_images(self._module)
        groups: dict[Any, list[View]] = {}
        for view, (edit, fill, _) in edits.items():
            # Hard views stacked without copies must share one fill; scalar fills of one Replace function are equal.
            together = (edit.hard, view.replace if not fill.dim() else view)
            alone = layers[view] or not is_input(view.layer) or not stack
            groups.setdefault(view if alone else together, []).append(view)
        for views in groups.values():
            names = layers[views[0]]
            if stack and not self.create_graph and self._takes_backward(views, names):
                self._later[views[0]] = (names, *edits[views[0]])
            else:
                self._call_together(views, names, edits)

    def _takes_backward(self, views: Sequence[View], names: Sequence[str]) -> bool:
        return any(takes_backward(self.family, view, layer) for view in views for layer in names)

    def _call_together(
        self, views: Sequence[View], names: list[str], edits: Mapping[View, tuple[Edit, Tensor, Tensor]]
    ) -> None:
        ready, inputs = [edits[view][0] for view in views], self._inputs()
        rows, twice = self._max_rows, self.create_graph
        some = self._edited if self._calls_some(views, names) else None
        if some is not None:
            ready, inputs = [edit_of(edit, some) for edit in ready], of_images(inputs, some, self.images)
        with torch.set_grad_enabled(self.create_graph or self._takes_backward(views, names)):
            found = call_edits(self._module, self.family, inputs, ready, self._full, names, max_rows=rows, twice=twice)
        for view, (logits, raw) in zip(views, found, strict=True):
            spread_out = logits if some is None else spread(logits, some, self.images)
            self._calls[view] = ViewCall(spread_out, raw, *edits[view][1:])

    def _calls_some(self, views: Sequence[View], names: Sequence[str]) -> bool:
        # BatchNorm in train mode needs the other images for its statistics; layers are read of all images.
        at_input = all(is_input(view.layer) for view in views)
        return at_input and not names and not couples_images(self._module)

    def _edit(self, view: View) -> tuple[Edit, Tensor, Tensor]:
        # The view ready for a call; its fill (images, channels, *space) or a scalar; its mask as the keep returned it.
        at_input = is_input(view.layer) and view.layer not in self._calls[FULL].layers
        original = self._inputs()[self.family.features] if at_input else self._call(FULL).layers[view.layer][0]
        with torch.set_grad_enabled(self.create_graph):
            features = self._to_space(view.layer, original)
            space = tuple(features.shape[2:])
            column = getattr(view.replace, "column", IMPORTANCE)
            matches = column in self.batch and self._is_of_places(column, len(space))
            human = self.of_images(self.importance(column, space)) if matches else None
            drawn = torch.ones(1, 1, dtype=torch.bool) if view.keep is None else view.keep(self, space)
            if self._edited is not None and couples_images(self._module):
                drawn = keep_others(drawn, self._edited)
            fill = view.fill(features, human, drawn, self.real_places(space))
            raw = self._from_space(view.layer, fill, original) if fill.dim() else fill
        # First to the dtype of the blend, then to the device: some devices have no float64.
        keep = (drawn if drawn.dtype == torch.bool else drawn.to(original.dtype)).to(original.device)
        family = self.family if is_input(view.layer) else self._of_layer(view.layer)
        return Edit(view.layer, original, keep, raw, space, family), fill, drawn

    def _is_of_places(self, column: str, axes: int) -> bool:
        # Importance of boxes says nothing of the cells of a grid, or of a vector.
        values = torch.as_tensor(self.batch[column])
        return len(values) == len(self.row) and values.dim() == 1 + axes

    def _from_space(self, layer: str, values: Tensor, like: Tensor) -> Tensor:
        return self.family.as_features(values) if is_input(layer) else self._of_layer(layer).raw(values, like)

    def _gradient(self, layer: str, target: ExplainedScore, view: View, fixed_weights: bool) -> Tensor:
        if not takes_backward(self.family, view, layer):
            head = self._module.get_submodule(self.family.head_at(layer) or "")
            return cam_gradient(self.weights(target), head, self.activation(layer))
        if view in self._later and layer in self._later[view][0]:
            return self._gradient_by_calls(layer, target, view, fixed_weights)
        call = self._call(view)
        with torch.enable_grad():  # under no_grad, too, the forward pass kept its graph
            scores = self.scores(target, view)
            gradient = slotwise_gradient(
                scores[None] if view == FULL else scores,
                call.layers[layer],
                self.row,
                self.slot,
                lambda raw: self._to_space(layer, raw),
                create_graph=self.create_graph,
                fixed_weights=fixed_weights,
                groups=self._groups,
            )
        return gradient[0] if view == FULL else gradient

    def _gradient_by_calls(self, layer: str, target: ExplainedScore, view: View, fixed_weights: bool) -> Tensor:
        # The graph of one call at a time: less memory, and on a CPU faster by the caches.
        names, edit = self._later[view][:2]
        options: Any = {"create_graph": False, "fixed_weights": fixed_weights, "keep_graph": False}
        calls = each_call(self._module, self.family, self._inputs(), edit, self._full, names, max_rows=self._max_rows)
        parts = []
        for logits, raw in calls:
            with torch.enable_grad():
                scores = target.of_rows(logits, self)
                parts.append(
                    slotwise_gradient(
                        scores, [raw[layer]], self.row, self.slot, lambda raw: self._to_space(layer, raw), **options
                    )
                )
        return torch.cat(parts)

    def _attribution(self, method: AttributionMethod) -> Tensor:
        device = self.column(self.family.features).device.type
        with torch.set_grad_enabled(self.create_graph), torch.autocast(device, enabled=False):
            maps = method(self)
            vectors = self._calls[FULL].holds_vectors(getattr(method, "layer", ""))
            real = None if vectors else self.real_places(tuple(maps.shape[1:]))
            return maps if real is None else maps.masked_fill(~self.of_rows(real), 0.0)

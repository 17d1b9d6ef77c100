"""KernelSHAP."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hf_guidance.attributions.perturbation import Perturbation
from hf_guidance.views import Coalitions, Nothing, View

if TYPE_CHECKING:
    from hf_guidance.forward import Forward

_VARIANTS = ("paper", "official")
_RIDGE = 1e-3


@dataclass(frozen=True)
class KernelSHAP(Perturbation):
    """``A = (S'WS + 1e-3 I)^-1 S'W y`` with ``y_i = score(x_Si) - score(nothing)`` (arXiv 2206.11212, eq. 10).

    S holds the coalitions, shared by the batch, so the system is solved once; W the Shapley kernel, up to a factor
    ``20 (d - 1) / (binom(d, k) k (d - k))`` for a coalition of k of d places, and 10 for the full one (5 below 10
    samples), where the kernel is infinite. The small ridge is that of the authors' code.

    Args:
        layer: Where places are taken out.
        target: Which score is explained.
        replace: What stands in their place.
        samples: Coalitions, >= 2. Below the number of places only as many random places are explained and the others
            are always replaced (app. D there); they get 0.
        variant: "paper" lets no gradient through score(nothing), as its text says; "official" does, as its code.

    Raises:
        ValueError: Fewer than 2 samples, or an unknown variant.

    Note:
        The authors' code mixes the rows of a batch here; this is the formula of each row.

    Example:
        >>> guidance = Guidance(align=Alignment(KernelSHAP(samples=15)))
    """

    samples: int = 16
    variant: str = "paper"

    def __post_init__(self) -> None:
        super().__post_init__()
        Coalitions(self.samples)
        if self.variant not in _VARIANTS:
            raise ValueError(f"KernelSHAP(variant={self.variant!r}) is unknown; choose one of {list(_VARIANTS)}.")

    @property
    def views(self) -> tuple[View, ...]:
        """The coalitions, and nothing."""
        return self.view(Coalitions(self.samples)), self.view(Nothing())

    def __call__(self, forward: Forward) -> Tensor:
        """Compute the map."""
        coalitions, nothing = self.views
        scores = forward.scores(self.target, coalitions)
        null = forward.scores(self.target, nothing)
        keep = forward.keep(coalitions)[:, 0]
        # Solved in float64 on the host, where the coalitions were drawn: the device is not waited for.
        solution = shapley_solution(keep.flatten(1)).to(scores.dtype).to(scores.device)
        change = scores - (null.detach() if self.variant == "paper" else null)
        maps: Tensor = (solution @ change).T.unflatten(1, keep.shape[1:])
        return maps


def shapley_weights(sizes: Tensor, places: int, samples: int) -> Tensor:
    """Weights of coalitions by size, float64: 0 for the empty one, 10 (below 10 samples 5) for the full one."""
    table = [0.0]
    table += [20 * (places - 1) / (math.comb(places, k) * k * (places - k)) for k in range(1, places)]
    table.append(5.0 if samples < 10 else 10.0)
    return torch.tensor(table, dtype=torch.float64)[sizes]


def shapley_solution(coalitions: Tensor) -> Tensor:
    """``(S'WS + 1e-3 I)^-1 S'W``, (places, samples) float64, of coalitions (samples, places) bool.

    Places that no coalition holds do not count as places; their rows are zero.
    """
    s = coalitions.double()
    weights = shapley_weights(coalitions.sum(1), int(coalitions.any(0).sum()), len(s))
    weighted = s.T * weights
    ridge = _RIDGE * torch.eye(s.shape[1], dtype=torch.float64, device=s.device)
    solution: Tensor = torch.linalg.solve(weighted @ s + ridge, weighted)
    return solution

"""A classifier that answers from the question alone, against which the question's encoding can be trained."""

from __future__ import annotations

from torch import Tensor, nn
from torch.func import functional_call


class QuestionAdversary(nn.Module):
    """``z = W_2 relu(W_1 q + b_1) + b_2``, twice: with gradients to the weights alone, and to q alone.

    Whoever makes a loss of both says how much each side learns and in which direction; a loss L of the first minus λ times
    the same loss of the second is a gradient reversal by λ between q and the classifier.

    Args:
        question_size: Size of q.
        size: Size of the hidden layer.
        classes: Number of answers.
    """

    def __init__(self, question_size: int, size: int, classes: int) -> None:
        super().__init__()
        self.classifier = nn.Sequential(nn.Linear(question_size, size), nn.ReLU(), nn.Linear(size, classes))

    def forward(self, question: Tensor) -> tuple[Tensor, Tensor]:
        """(questions, question_size) to (questions, classes), of which the classifier learns, and the same with it fixed."""
        constants = {name: parameter.detach() for name, parameter in self.classifier.named_parameters()}
        return self.classifier(question.detach()), functional_call(self.classifier, constants, (question,))


def adversary_of(question_size: int, size: int | None, classes: int) -> QuestionAdversary | None:
    """The adversary of a model, None for size None."""
    return None if size is None else QuestionAdversary(question_size, size, classes)


def answers_alone(
    adversary: QuestionAdversary | None, question: Tensor, known: Tensor | None
) -> tuple[Tensor, Tensor] | tuple[()]:
    """What the adversary answers to questions that were encoded now; nothing without one, or where the encoding was known.

    Args:
        adversary: The adversary of the model, or None.
        question: (questions, question_size).
        known: The encoding that the model was given; None if it has encoded the question itself.

    Returns:
        As the adversary, or ().
    """
    if adversary is None or known is not None:
        return ()
    answers: tuple[Tensor, Tensor] = adversary(question)
    return answers


def check_adversary_size(size: int | None, config: object) -> None:
    """Refuse a size of the hidden layer that is none.

    Raises:
        ValueError: Neither None nor a whole number of at least 1.
    """
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
        raise ValueError(
            f"{type(config).__name__}(question_adversary_size={size!r}) must be a whole number of at least 1, or None for a "
            "model without an adversary."
        )

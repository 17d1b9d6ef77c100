"""Whether the answers of a split are published: test questions are often published without."""

from collections.abc import Iterable
from typing import Any

__all__ = ["any_answer", "published_with_answers"]


def any_answer(questions: Iterable[Any]) -> bool:
    """Whether any raw question has an ``answer``; where one has, a question without is a fault."""
    return any(isinstance(question, dict) and question.get("answer") is not None for question in questions)


def published_with_answers(split: str) -> bool:
    """Whether the answers of a split's questions are published: VQA v2 keeps those of its test splits."""
    return not split.startswith("test")

"""The card of a guided model: what guided it, by which annotations, what that did, and what it does not promise."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from huggingface_hub import ModelCard, ModelCardData
from transformers.utils import logging

from hf_guidance.common.card_text import code, escaped, one_line, table
from hf_guidance.common.cards import filled_card
from hf_guidance.guidance import Guidance
from hf_guidance.training.best_model import higher_is_better
from hf_guidance.training.checkpoint_adapters import saves_adapters
from hf_guidance.training.publishing.annotations import AnnotationFacts, RowsFacts
from hf_guidance.training.publishing.caption_usage import CaptionUse
from hf_guidance.training.publishing.card_options import CardOptions, listed
from hf_guidance.training.publishing.limits import limits_of
from hf_guidance.training.publishing.maps_picture import PICTURE
from hf_guidance.training.publishing.origins import base_model, licence_of
from hf_guidance.training.publishing.results import eval_results
from hf_guidance.training.publishing.terms import TermFacts, sources_of, term_facts
from hf_guidance.training.publishing.usage import CAPTIONS, QUESTIONS, code_to_load

logger = logging.get_logger(__name__)

MARK = (
    "<!-- Written by hf_guidance, and again at every save: only what stands between the next two comments is kept. -->"
)
OWN_BEGIN, OWN_END = "<!-- your own words -->", "<!-- end of your own words -->"
_TAGS = ["hf_guidance", "attribution-guidance", "generated_from_trainer"]
_ARROWS = (
    "↑ higher is better, ↓ lower is better. `loss` is the whole loss with its weights, which other weights make another; "
    "`loss/<term>` is a term alone, unweighted."
)
_DATA_SET = re.compile(r"([\w.-]+/)?[\w.-]{1,96}", re.ASCII)
_DOES = {QUESTIONS: "answers questions about images", CAPTIONS: "captions images"}
_PACKAGES = ("hf-guidance", "transformers", "torch", "datasets", "peft")


@dataclass(frozen=True)
class CardFacts:
    """What a trainer knows of its model when it writes a card.

    Attributes:
        name: Of the model.
        repo: Its id on the Hub; None where it has none.
        model: Unwrapped.
        guidance: The terms.
        task: Id of the task on the Hub.
        options: What the user says.
        annotations: What guided.
        evaluated: Prefix of metrics -> the data set.
        now: The last metrics: name -> (step, value).
        current: Names of those that were measured of the weights as they are.
        before: The metrics before training.
        unguided: Those of a run without guidance.
        step: Of the model.
        history: The log.
        picture: Caption of the picture of maps; None where there is none.
        processor: Whether an image processor is saved beside the model.
        training: Hyperparameters.
        own_words: What the user wrote into an earlier card.
        captions: What the code of a captioner needs; None for other models.
        guide_every: At which optimizer steps the terms counted: every k-th.
    """

    name: str
    repo: str | None
    model: Any
    guidance: Guidance
    task: str
    options: CardOptions
    annotations: AnnotationFacts
    evaluated: Mapping[str, RowsFacts]
    now: Mapping[str, tuple[int, float]]
    current: Collection[str]
    before: Mapping[str, float]
    unguided: Mapping[str, float]
    step: int
    history: list[dict[str, Any]]
    picture: str | None
    processor: bool
    training: Mapping[str, Any]
    own_words: str = ""
    captions: CaptionUse | None = None
    guide_every: int = 1


def model_card(facts: CardFacts) -> str:
    """The text of README.md, with metadata that the Hub reads."""
    base = base_model(facts.model, facts.options.finetuned_from)
    terms = term_facts(facts.guidance)
    licence = facts.options.license or licence_of(base)
    repo = facts.repo or f"your-name/{facts.name}"
    return filled_card(
        ModelCard,
        "guided_model.md",
        _data(facts, base, licence),
        mark=MARK,
        own_begin=OWN_BEGIN,
        own_end=OWN_END,
        own_words=facts.own_words,
        title=escaped(facts.name),
        summary=_summary(facts, base),
        picture=facts.picture and {"file": PICTURE, "alt": "attribution maps", "caption": facts.picture},
        results=_results(facts),
        results_note=_results_note(facts),
        terms=[
            {**vars(term), "undefined": _undefined(facts, name)}
            for name, term in zip(facts.guidance, terms, strict=True)
        ],
        terms_table=_terms_table(terms),
        terms_note=_terms_note(facts.guidance, facts.guide_every),
        annotations=_annotations(facts.annotations),
        code=code_to_load(facts.model, facts.guidance, repo, base, facts.task, facts.processor, facts.captions),
        limits=limits_of(facts.guidance, facts.annotations, facts.task == QUESTIONS, facts.captions is not None),
        training=[f"{escaped(name)}: {code(value)}" for name, value in facts.training.items()] + _versions(),
        guidance_json=facts.guidance.to_json().strip(),
        licence=escaped(licence)
        if licence
        else "Not stated. It depends on the base model and on the data: name it by `create_model_card(license=...)`.",
        bibtex="\n\n".join(source.bibtex() for source in sources_of(facts.guidance)),
    )


def own_words_of(text: str) -> str:
    """What the user wrote into a card, between the two comments."""
    found = re.search(re.escape(OWN_BEGIN) + r"\n(.*?)" + re.escape(OWN_END), text, flags=re.DOTALL)
    return found.group(1).strip() if found else ""


def _data(facts: CardFacts, base: str | None, licence: str | None) -> ModelCardData:
    options, adapters = facts.options, saves_adapters(facts.model)
    current = {name: value for name, (_, value) in facts.now.items() if name in facts.current}
    results = eval_results(current, facts.task, facts.evaluated)
    tags = [*_TAGS, *listed(options.tags), *([f"base_model:adapter:{base}"] if adapters and base else [])]
    own = [facts.annotations.rows.hub_id, *(rows.hub_id for rows in facts.evaluated.values())]
    named = _data_set_ids(listed(options.dataset_tags))
    return ModelCardData(
        language=options.language,
        license=licence,
        library_name="peft"
        if adapters
        else "transformers"
        if hasattr(facts.model, "from_pretrained")
        else "hf_guidance",
        pipeline_tag=facts.task,
        base_model=base,
        datasets=list(dict.fromkeys(named or [name for name in own if name])) or None,
        metrics=list(dict.fromkeys(result.metric_type for result in results)) or None,
        tags=[one_line(tag) for tag in dict.fromkeys(tags)],
        model_name=one_line(facts.name),
        eval_results=results or None,
    )


def _data_set_ids(names: list[str]) -> list[str]:
    wrong = [name for name in names if not _DATA_SET.fullmatch(name)]
    if wrong:
        logger.warning(
            f"dataset_tags={wrong}: no ids of data sets on the Hub, so the card's metadata leave them out; give 'owner/name', "
            "or say their names by dataset=."
        )
    return [name for name in names if name not in wrong]


def _summary(facts: CardFacts, base: str | None) -> str:
    kind = getattr(getattr(facts.model, "config", None), "model_type", None) or type(facts.model).__name__
    told = "fine-tuned from" if base else "trained"
    start = f" [{base}](https://huggingface.co/{base})" if base else ""
    what = _DOES.get(facts.task, "classifies images")
    guided = len(facts.guidance.guided)
    if not guided:
        return f"A {code(kind)} model that {what}, {told}{start} without guidance: the task loss alone."
    terms = "one term" if guided == 1 else f"{guided} terms"
    names = [escaped(name) for name in listed(facts.options.dataset)] or [_rows_name(facts.annotations.rows)]
    return (
        f"A {code(kind)} model that {what}, {told}{start} with attribution guidance on {' and '.join(names)}: beside the task "
        f"loss, {terms} on what the model looks at, by `hf_guidance`."
    )


def _rows_name(rows: RowsFacts) -> str:
    return escaped(rows.name) if rows.name else "data without a name"


def _results(facts: CardFacts) -> str:
    columns = {"without guidance": facts.unguided, "before training": facts.before}
    shown = {title: values for title, values in columns.items() if values}
    now = {name: value for name, (_, value) in facts.now.items()}
    names = sorted(now, key=lambda name: "/" in name)  # what is of terms last
    if not names:
        return ""
    lines = [
        (
            f"{code(name.removeprefix('eval_'))}{_arrow(name)}",
            *(_number(values.get(name)) for values in (*shown.values(), now)),
        )
        for name in names
    ]
    return table(("metric", *shown, "this model"), lines)


def _results_note(facts: CardFacts) -> str:
    steps = sorted({step for step, _ in facts.now.values()})
    sets = [f"{_rows_name(rows)}{_split(rows)}" for rows in facts.evaluated.values()]
    where = f"Measured on {' and '.join(dict.fromkeys(sets))}" if sets else "Measured"
    when = f" at step {' and '.join(map(str, steps))}" + (f" of {facts.step}" if set(steps) != {facts.step} else "")
    old = "" if set(facts.now) == set(facts.current) else " The model has been trained since."
    return f"{where}{when}.{old} {_ARROWS}"


def _split(rows: RowsFacts) -> str:
    parts = [code(part) for part in (rows.config, rows.split) if part]
    size = f"{rows.rows} rows" if rows.rows is not None else ""
    inner = ", ".join([*parts, *([size] if size else [])])
    return f" ({inner})" if inner else ""


def _arrow(name: str) -> str:
    higher = higher_is_better(name)
    return "" if higher is None else " ↑" if higher else " ↓"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if math.isfinite(value) else "undefined"


def _terms_table(terms: list[TermFacts]) -> str:
    lines = [
        (
            term.name, term.objective.name, term.weight, term.reduction,
            term.attribution.name if term.attribution else "", term.layer,
        )
        for term in terms
    ]  # fmt: skip
    return table(("term", "objective", "weight", "reduction", "attribution", "layer"), lines)


def _terms_note(guidance: Guidance, every: int) -> str:
    sums = "The loss is the sum of weight times reduced objective."
    if not guidance.guided:
        return f"{sums} There is no term beside the task: nothing guided this model."
    steps = f" They count at one optimizer step of {every}, with {every} times the weight (`guide_every={every}`)."
    return (
        f"{sums} Terms beside the task count annotated rows only: `batch` divides their sum by the images of a batch, `rows` "
        f"by the annotated rows in it, `sum` does not divide.{steps if every > 1 else ''}"
    )


def _undefined(facts: CardFacts, name: str) -> str:
    key = f"undefined_share/{name}"
    found = [(int(entry.get("step", 0)), float(entry[key])) for entry in facts.history if key in entry]
    if not found:
        return ""
    (first, start), (last, end) = found[0], found[-1]
    earlier = "" if first == last else f" ({start:.1%} at step {first})"
    return f"{end:.1%} of the annotated rows at step {last}{earlier}"


def _annotations(facts: AnnotationFacts) -> list[str]:
    rows = facts.rows
    told = [f"**Training set** {_rows_name(rows)}{_split(rows)}"]
    if rows.hub_id:
        told[0] += f", [{rows.hub_id}](https://huggingface.co/datasets/{rows.hub_id})"
    if facts.share is not None:
        told.append(f"**Annotated** {facts.annotated} of {rows.rows} rows ({facts.share:.1%})")
    else:
        told.append("**Annotated** not counted: the rows are made as they are read")
    if facts.source:
        told.append(f"**Importance is made of** {escaped(facts.source)}")
    if facts.in_training:
        told.append(f"**In training only** {', '.join(map(code, facts.in_training))}")
    return told


def _versions() -> list[str]:
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return [f"versions: {', '.join(found)}"]

"""Texts of the page: its HTML, its keys, its looks. Everything that comes from people is escaped."""

from __future__ import annotations

import json
from html import escape

from hf_guidance.apps.annotation.agreement import Agreement
from hf_guidance.apps.annotation.drawer import Drawn
from hf_guidance.apps.annotation.items.scale import BACK, Scale

__all__ = ["CSS", "agreement_html", "head", "question_html"]

_HEAD = """
<script>
window.hfGuidance = (() => {
  const KEYS = %KEYS%;
  const tab = () => {  // kept when the page is loaded anew, and not shared with another tab
    let word = sessionStorage.getItem("hf-guidance-tab");
    if (!word) {
      const bytes = crypto.getRandomValues(new Uint8Array(16));
      word = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
      sessionStorage.setItem("hf-guidance-tab", word);
    }
    return word;
  };
  const enter = (name) => {
    const known = name || sessionStorage.getItem("hf-guidance-name") || "";
    return JSON.stringify({name: known, tab: tab()});
  };
  const shown = (drawn) => {  // of what is seen at this moment
    const question = document.querySelector("#question");
    if (!question) return "{}";
    sessionStorage.setItem("hf-guidance-name", question.dataset.name);
    return JSON.stringify({name: question.dataset.name, tab: tab(), item: question.dataset.item,
      drawn: drawn && {boxes: drawn.boxes, orientation: drawn.orientation}});
  };
  const typing = (target) => target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName);
  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    const word = KEYS[event.key.toLowerCase()];
    const button = word && document.querySelector("#answer-" + word);
    if (button && document.querySelector("#question")) { event.preventDefault(); button.click(); }
  });
  document.addEventListener("click", (event) => {  // the second click of a double click is none
    if (event.detail > 1 && event.target.closest && event.target.closest("[id^=answer-]")) {
      event.preventDefault(); event.stopImmediatePropagation();
    }
  }, true);
  return {enter, shown};
})();
</script>
"""


def head(scale: Scale) -> str:
    """The script of the page, which knows the keys of a scale."""
    keys = {choice.key: choice.word for choice in scale.choices} | {BACK: "back"}
    return _HEAD.replace("%KEYS%", json.dumps(keys))


CSS = """
footer {display: none !important}
#pictures {display: flex; gap: 12px; margin: 8px 0; min-height: 320px; align-items: flex-start}
#pictures .group {min-width: 0; max-width: fit-content} #pictures h3 {margin: 0 0 4px} #pictures .row {display: flex; gap: 12px}
#pictures figure {margin: 0; flex: 0 1 320px; min-width: 0} #pictures img {max-width: 100%; height: auto}
#pictures figcaption {font-size: 13px; opacity: 0.75}
#pictures:has(.headed) {min-height: 240px} #pictures .beside {padding: 8px 0}
#pictures .headed {background: #8881; border-radius: 6px; padding: 8px}
#question h2 {margin: 4px 0 8px} #question .text {font-size: 17px; margin: 0 0 8px}
#question .told {color: #b45309; min-height: 1.4em}
#question .bar {height: 6px; background: #8883; border-radius: 3px} #question .bar div {height: 6px; background: #4f46e5;
  border-radius: 3px}
#agreement table {border-collapse: collapse} #agreement td, #agreement th {padding: 2px 12px 2px 0; text-align: left}
"""


def question_html(
    name: str,
    item: int | None,
    shown: Drawn,
    done: int,
    total: int,
    before: str | None,
    told: str = "",
) -> str:
    """The question that an annotator sees.

    Args:
        name: The annotator.
        item: Place of the item; None where all are answered.
        shown: The question and its pictures.
        done: How many they answered.
        total: Of how many.
        before: What they said about this one: the label of its button.
        told: A message.

    Returns:
        HTML, whose element ``#question`` says in data-item and data-name what is shown to whom.
    """
    said = "" if before is None else f" You said {escape(before.lower())}; answer anew to change it."
    heading = "All are answered. Thank you!" if item is None else shown.question
    text = f'<p class="text">{escape(shown.text)}</p>' if shown.text else ""
    headed = any(name for name, _ in shown.groups)
    groups = "".join(_group(name, pictures, headed) for name, pictures in shown.groups)
    place = "" if item is None else str(item)
    return (
        f'<div id="question" data-item="{place}" data-name="{escape(name)}" data-done="{done}"><h2>{escape(heading)}</h2>{text}'
        f'<div class="bar"><div style="width: {100 * done / max(total, 1):.2f}%"></div></div>'
        f'<div id="progress">{escape(name)}: {done} of {total} answered.{said}</div><div id="pictures">{groups}</div>'
        f'<div class="told">{escape(told)}</div></div>'
    )


def _group(heading: str, pictures: list[tuple[str, str]], headed: bool) -> str:
    figures = "".join(
        f'<figure><img src="{escape(address)}" alt="{escape(caption)}"><figcaption>{escape(caption)}</figcaption></figure>'
        for caption, address in pictures
    )
    kind = "group headed" if heading else "group beside" if headed else "group"
    above = f"<h3>{escape(heading) or '&nbsp;'}</h3>" if headed else ""  # so that all pictures begin at one height
    # Every picture of the page gets an equal part of its width.
    return f'<div class="{kind}" style="flex: {len(pictures)} 1 0">{above}<div class="row">{figures}</div></div>'


def agreement_html(found: Agreement, counts: dict[str, int], scale: Scale) -> str:
    """The figures of agreement as tables.

    Args:
        found: The figures.
        counts: Annotator to the number of their answers.
        scale: That they answered on.

    Returns:
        HTML.
    """
    people = "".join(f"<tr><td>{escape(name)}</td><td>{count}</td></tr>" for name, count in counts.items())
    pairs = "".join(
        f"<tr><td>{escape(first)} and {escape(second)}</td><td>{found.shared[first, second]}</td><td>{_figure(value)}</td></tr>"
        for (first, second), value in found.kappa.items()
    )
    kappa = "Cohen's kappa" + (", quadratic weights" if scale.level == "ordinal" else "")
    return (
        f'<div id="agreement"><table><tr><th>annotator</th><th>answers</th></tr>{people}</table>'
        f"<table><tr><th>annotators</th><th>both answered</th><th>{kappa}</th></tr>{pairs}</table>"
        f"<p>Krippendorff's alpha of all: {_figure(found.alpha)}. 1 is full agreement, 0 that of chance.</p></div>"
    )


def _figure(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"

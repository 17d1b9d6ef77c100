"""The page: Gradio components around ``question_html``, and how it is opened."""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr

from hf_guidance.apps.annotation import page_parts
from hf_guidance.apps.annotation.agreement import agreement
from hf_guidance.apps.annotation.box_tool import box_tool, drawn_boxes, tool_value
from hf_guidance.apps.annotation.desk import Desk
from hf_guidance.apps.annotation.drawer import Drawer, Drawn
from hf_guidance.apps.annotation.items.item import Items
from hf_guidance.apps.annotation.items.scale import BACK
from hf_guidance.apps.annotation.sitting import Sitting
from hf_guidance.apps.annotation.store import AnswerStore

__all__ = ["AnnotationPage"]

_LARGEST_UPLOAD = 1  # byte: the page takes no files
_UNREADABLE = "This picture cannot be read; tell the one who asks you."


class AnnotationPage:
    """The page that asks people about items.

    Args:
        items: What is asked about.
        store: Where answers go.
        seed: Of the order of each annotator.
        annotators: The names that are allowed; None for any.
        boxes: Whether people may draw boxes beside their answer.
        password: With one, people log in by their name and the password.
        folder: Never served, whatever Gradio may allow.

    Example:
        >>> AnnotationPage(items, store).open(port=7860)
        'http://127.0.0.1:7860/'
    """

    def __init__(
        self, items: Items, store: AnswerStore, *, seed: int = 0, annotators: Sequence[str] | None = None,
        boxes: bool = False, password: str | None = None, folder: str | os.PathLike[str] | None = None,
    ) -> None:  # fmt: skip
        self._items, self._store, self._boxes, self._folder = items, store, boxes, folder
        self._password = password
        self._desk, self._draw = Desk(items, store, seed, annotators), Drawer(items)
        self._blocks = self._built()

    def open(self, host: str | None = "127.0.0.1", port: int | None = None) -> str:
        """Open the page.

        Args:
            host: Address to listen at; None for what the environment says (GRADIO_SERVER_NAME), as on a Space.
            port: Port; None for the first free one from 7860 on.

        Returns:
            The address of the page.
        """
        fonts = ["system-ui", "sans-serif"]  # no font is fetched from elsewhere
        _, address, _ = self._blocks.launch(
            server_name=host, server_port=port, prevent_thread_lock=True, quiet=True, share=False, inbrowser=False,
            auth=None if self._password is None else self._logged_in, auth_message="Your name, and the password.",
            allowed_paths=[], blocked_paths=None if self._folder is None else [os.path.abspath(self._folder)],
            max_file_size=_LARGEST_UPLOAD, enable_monitoring=False, ssr_mode=False, mcp_server=False, pwa=False,
            run_history=False, footer_links=[], theme=gr.themes.Default(font=fonts, font_mono=["monospace"]),
            css=page_parts.CSS, head=page_parts.head(self._items.scale),
        )  # fmt: skip
        return str(address)

    def close(self) -> None:
        """Close the page."""
        self._blocks.close(verbose=False)
        self._draw.close()

    def _built(self) -> Any:
        event: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        with gr.Blocks(title=self._items.scale.title, analytics_enabled=False) as blocks:
            with gr.Row() as entry:
                name = gr.Textbox(label="Your name", elem_id="name", max_length=80)
                start = gr.Button("Start", variant="primary", elem_id="start")
            told = gr.Markdown(elem_id="told")
            question = gr.HTML(visible=False)
            carried = gr.Textbox(visible=False)
            with gr.Row(visible=False, equal_height=True) as row:
                words = {choice.word: f"{choice.label} ({choice.key})" for choice in self._items.scale.choices}
                words["back"] = f"Back ({BACK})"
                buttons = {
                    word: gr.Button(text, elem_id=f"answer-{word}", min_width=80) for word, text in words.items()
                }
            drawn = box_tool() if self._boxes else gr.Textbox(visible=False)
            with gr.Accordion("Agreement", open=False):
                figures = gr.HTML()
                gr.Button("Work out", size="sm", elem_id="figures").click(self._figures, None, figures, **event)
            outputs = [entry, told, row, question, drawn]
            for happened, js in (
                (start.click, "(name) => [window.hfGuidance.enter(name)]"),
                (name.submit, "(name) => [window.hfGuidance.enter(name)]"),
                (blocks.load, "() => [window.hfGuidance.enter('')]"),
            ):
                happened(self._enter, name, outputs, js=js, **event)
            js = "(_, drawn) => [window.hfGuidance.shown(drawn), null]"
            for word, button in buttons.items():
                button.click(self._said(word), [carried, drawn], [question, drawn], js=js, **event)
            blocks.unload(self._left)
        return blocks

    def _logged_in(self, name: str, password: str) -> bool:
        try:
            self._desk.name_of(name)
        except ValueError:
            return False
        return hmac.compare_digest(password.encode(), (self._password or "").encode())

    def _enter(self, carried: str, request: gr.Request) -> tuple[Any, ...]:
        asked = _read(carried)
        name = getattr(request, "username", None) or asked.get("name", "")
        if not name:  # the page was opened for the first time
            return (gr.Row(visible=True), "", gr.Row(visible=False), gr.HTML(visible=False), None)
        try:
            sitting = self._desk.sit(str(name), str(asked.get("tab", "")), str(request.session_hash or ""))
        except ValueError as error:
            return (gr.Row(visible=True), str(error), gr.Row(visible=False), gr.HTML(visible=False), None)
        with self._desk.lock:
            html, tool = self._shown(sitting)
        return (gr.Row(visible=False), "", gr.Row(visible=True), gr.HTML(html, visible=True), tool)

    def _said(self, word: str) -> Callable[..., Any]:
        """What one of the buttons does; the page says which item it was pressed for."""

        def said(carried: str, drawn: Any, request: gr.Request) -> Any:
            asked = _read(carried)
            name = getattr(request, "username", None) or asked.get("name", "")
            try:
                with self._desk.lock:
                    sitting = self._desk.sit(str(name), str(asked.get("tab", "")), str(request.session_hash or ""))
                    told = self._done(sitting, word, str(asked.get("item", "")), asked.get("drawn"))
                    return self._shown(sitting, told)
            except ValueError as error:  # shown on the page, where the annotator looks
                raise gr.Error(str(error), print_exception=False) from error

        return said

    def _done(self, sitting: Sitting, word: str, item: str, drawn: Any) -> str:
        """Do what was asked, and say what the annotator must know."""
        if word == "back":
            return "" if sitting.back() else "This is the first image."
        if not item.isdecimal():
            return ""  # all are answered
        place = int(item)
        if place == sitting.shown:
            if self._items.scale.unsure is None:
                try:
                    self._draw(place, sitting.swapped(place))
                except ValueError:
                    return f"{_UNREADABLE} Nothing was counted."
            sitting.answer(place, word, drawn_boxes(drawn, self._items[place]) if self._boxes else ())
            return ""
        if place < len(self._items) and sitting.answered(place) == word:
            return ""  # a second click: it is counted already
        return "That answer was for an image that is not asked about any more; it was not counted. Here is the one that is."

    def _shown(self, sitting: Sitting, told: str = "") -> tuple[Any, ...]:
        """What the page shows to an annotator: the HTML, and the image for the box tool."""
        item = sitting.shown
        if (after := sitting.next) is not None:
            self._draw.prepare(after, sitting.swapped(after))
        shown, tool = Drawn("", "", []), None
        if item is not None:
            try:
                shown = self._draw(item, sitting.swapped(item))
                tool = tool_value(self._items[item], sitting.drawn(item)) if self._boxes else None
            except ValueError:  # a picture that is damaged; where it lies is nothing for the people who answer
                told = f"{_UNREADABLE} {'Answer unsure to go on.' if self._items.scale.unsure else ''}"
        before = None if item is None else sitting.answered(item)
        said = None if before is None else self._items.scale.label(before)
        html = page_parts.question_html(sitting.name, item, shown, sitting.done, len(self._items), said, told)
        return html, tool

    def _figures(self) -> str:
        columns = self._store.columns()
        counts = {name: sum(word is not None for word in given) for name, given in columns.items()}
        return page_parts.agreement_html(agreement(columns, self._items.scale), counts, self._items.scale)

    def _left(self, request: gr.Request) -> None:
        if request.session_hash:
            self._desk.leave(request.session_hash)


def _read(carried: str) -> Mapping[str, Any]:
    """What a page sent about itself; nothing where it is not what our script sends."""
    try:
        found = json.loads(carried)
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

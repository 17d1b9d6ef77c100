"""Any text is one cell, one line and nothing but text in a card."""

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from hf_guidance.common.card_text import code, escaped, marked_up, one_line, table

PARSER = MarkdownIt("commonmark").enable("table")
NASTY = [
    "a|b",
    "`",
    "``x`",
    "a\nb",
    "---",
    "\u2028",
    "<b>&amp;",
    "[x](y)",
    "*a*_b_~c~",
    "$$x$$",
    "# a",
    "\\|",
    "日本: 'x' \"y\"",
    " ",
]
TEXTS = st.one_of(st.sampled_from(NASTY), st.text(max_size=40))


def cells(markdown):
    tokens = PARSER.parse(markdown)
    return [tokens[i + 1] for i, token in enumerate(tokens) if token.type in ("td_open", "th_open")]


def shown(token):
    return "".join(child.content for child in token.children)


@given(TEXTS)
def test_a_cell_shows_the_text_and_nothing_else(text):
    header, *row = cells(table(["name", "code", "end"], [(escaped(text), code(text), "end")]))[2:]
    del header
    assert len(row) == 3
    assert shown(row[0]) == one_line(text)
    assert all(child.type == "text" for child in row[0].children)
    assert shown(row[1]).strip() == one_line(text).strip()
    assert shown(row[2]) == "end"


@given(TEXTS)
def test_a_sentence_stays_a_paragraph(text):
    tokens = PARSER.parse(f"The data set {escaped(text)} of classes.")
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]


def test_docstrings_keep_their_code():
    text = marked_up("``L = |A| * B``: the share\n    *outside* of ``M``.")
    (token,) = (token for token in PARSER.parse(text) if token.type == "inline")
    assert [(child.type, child.content) for child in token.children] == [
        ("code_inline", "L = |A| * B"), ("text", ": the share *outside* of "), ("code_inline", "M"), ("text", "."),
    ]  # fmt: skip

"""Options in YAML files: what is read, what is refused, and that what is written is read back."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_guidance.common.yaml_file import options_text, read_options

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(min_size=1, max_size=8), VALUES, max_size=4))
def test_what_is_written_is_read_back(tmp_path_factory, options):
    file = tmp_path_factory.mktemp("yaml") / "options.yaml"
    file.write_text(options_text(options), encoding="utf-8")
    assert read_options(file) == options


@pytest.mark.parametrize(
    "text", ["1e-4", "1e5", "0.1", "no", "null", "~", "[a]", "Füße", "a\x85b", "2007", " x ", "-.5", "1."]
)
def test_text_that_looks_like_something_else_stays_text(text, tmp_path):
    (tmp_path / "a.yaml").write_text(options_text({"a": text, "b": [text]}), encoding="utf-8")
    assert read_options(tmp_path / "a.yaml") == {"a": text, "b": [text]}


@pytest.mark.parametrize("text", ["rate: 1e-4", "rate: 1.0e-4", "rate: 1E-4", "rate: .1e-3"])
def test_numbers_with_an_exponent_are_numbers(text, tmp_path):
    (tmp_path / "a.yaml").write_text(text)
    assert math.isclose(read_options(tmp_path / "a.yaml")["rate"], 1e-4)


OLD = ["no", "yes", "on", "Off", "007", "0123", "1:30", "1_000", "0x1F", "0b1", "1_0.5", "2001-02-03", "1:30.5"]


@pytest.mark.parametrize("text", [*OLD, "y", "N", "="])
def test_what_only_older_yaml_takes_for_something_else_is_text(text, tmp_path):
    (tmp_path / "a.yaml").write_text(f"a: {text}\nb: [{text}]\nc: {{d: '{text}', {text}: 1}}")
    assert read_options(tmp_path / "a.yaml") == {"a": text, "b": [text], "c": {"d": text, text: 1}}


@pytest.mark.parametrize("text", OLD)
@pytest.mark.parametrize("form", ["a: {{b: {}}}", "a: {{b: [1, {}]}}", "a: [{{b: {}}}]", "a: {{b: {{c: {}}}}}"])
def test_within_mappings_it_is_refused(form, text, tmp_path):
    (tmp_path / "a.yaml").write_text(form.format(text))
    with pytest.raises(
        ValueError, match=r"booleans are true and false, numbers are decimal .*into quotes if it is text"
    ):
        read_options(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("False", False), ("12", 12), ("-3", -3), ("+.5", 0.5), ("1.", 1.0), ("0", 0), ("0.10", 0.1), ("~", None),
     ("null", None), ("", None), ("-.inf", -math.inf), ("2E3", 2000.0)],
)  # fmt: skip
def test_values_of_every_kind(text, value, tmp_path):
    (tmp_path / "a.yaml").write_text(f"a: {text}\nb: {{c: {text}}}")
    assert read_options(tmp_path / "a.yaml") == {"a": value, "b": {"c": value}}
    assert type(read_options(tmp_path / "a.yaml")["a"]) is type(value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: 1\na: 2", "'a' is given twice"),
        (b"a: {b: 1, b: 2}", "'b' is given twice"),
        (b"1: 2", "give options with values"),
        (b"", "give options with values"),
        (b"a: [", "is no YAML"),
        (b"a: &x {b: *x}", "too deep"),
        (b"a: " + b"[" * 5000 + b"]" * 5000, "too deep"),
        (b"a: !!python/object/apply:os.system [ls]", "is no YAML"),
        (b"\xff\xfe\xfa", "cannot be read"),
    ],
)
def test_what_holds_no_options_is_refused(content, message, tmp_path):
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_options(tmp_path / "a.yaml")


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere.yaml cannot be read"):
        read_options(tmp_path / "nowhere.yaml")

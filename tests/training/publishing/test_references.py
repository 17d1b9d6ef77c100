"""BibTeX out of the docstrings of methods, the library's and those of users."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_guidance import attributions, objectives
from hf_guidance.attributions import Attribution
from hf_guidance.objectives import AttributionObjective, Energy, Objective
from hf_guidance.training.publishing.references import reference_of, sources_in, summary_of

BASES = (Attribution, Objective, AttributionObjective, objectives.SavedMapObjective)
NAMED = [getattr(module, name) for module in (objectives, attributions) for name in module.__all__]
METHODS = [cls for cls in NAMED if issubclass(cls, Attribution | Objective) and cls not in BASES]


@pytest.mark.parametrize("cls", METHODS)
def test_every_method_names_a_paper_that_can_be_cited(cls):
    assert summary_of(cls)
    found = sources_in(reference_of(cls))
    assert found
    for source in found:
        assert source.authors
        assert all(name[0].isupper() or name == "others" for name in source.authors), source
        assert 1990 < int(source.year) < 2100
        assert len(source.title) > 15
        assert source.key[0].isalpha()
        assert source.key.isalnum()
        text = source.bibtex()
        assert text.count("{") == text.count("}")
    numbers = [source.arxiv for source in found if source.arxiv]
    assert numbers
    assert all(number in reference_of(cls) for number in numbers)


def test_parts_of_a_reference():
    (source,) = sources_in(reference_of(Energy))
    assert source.authors == ("Rao", "Böhle", "Parchami-Araghi", "Schiele")
    assert (source.key, source.venue, source.year, source.arxiv) == ("rao2023studying", "ICCV", "2023", "2303.11932")
    assert source.bibtex() == (
        "@misc{rao2023studying,\n  author = {Rao and Böhle and Parchami-Araghi and Schiele},\n"
        "  title = {{Studying How to Efficiently and Effectively Guide Models with Explanations}},\n"
        "  howpublished = {ICCV},\n  year = {2023},\n  eprint = {2303.11932},\n  archivePrefix = {arXiv}\n}"
    )


def test_several_papers_in_one_section():
    first, second = sources_in(reference_of(objectives.L1))
    assert first.key == "rao2023studying"
    assert (second.authors[0], second.venue, second.year, second.arxiv) == ("Gao", "ACM HCI", "2022", "")


def test_docstrings_of_others():
    class Own(Objective):
        """``L = x}```` of *mine*.

        Reference:
            Ann Lee et al., "A {Brace} and ``` in a \\ Title", 2020.
        """

    class Silent(Objective):
        pass

    assert summary_of(Own) == "``L = x}```` of *mine*."
    (source,) = sources_in(reference_of(Own))
    assert (source.authors, source.title, source.key) == (
        ("Ann Lee", "others"), "A Brace and in a Title", "lee2020brace",
    )  # fmt: skip
    assert summary_of(Silent) == reference_of(Silent) == ""
    assert sources_in("") == sources_in("A book without quotes, 1999.") == []
    assert sources_in('"No author"')[0].key == "no"
    assert sources_in('{. "Braces"')[0].authors == ()


MARKS = ['"', ". ", ": ", " and ", ", ", "et al.", "arXiv 2303.11932", "2020", "{", "\\"]
WORDS = st.lists(st.one_of(st.sampled_from(MARKS), st.text(max_size=8)))


@given(WORDS)
def test_any_text_gives_whole_entries_or_none(words):
    for source in sources_in(" ".join("".join(words).split())):
        text = source.bibtex()
        assert text.count("{") == text.count("}")
        assert "`" not in text
        assert source.key.isascii()

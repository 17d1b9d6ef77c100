"""guidance.json on the Hub: what is read of a stranger's, and what is refused."""

import json
from pathlib import Path

import pytest
from hub_server import TOKEN

from hf_guidance import Guidance, Term
from hf_guidance.attributions import GradCAM
from hf_guidance.guidance.document import FORMAT, parse_document, read_document
from hf_guidance.objectives import Energy, TaskLoss

REPO = "tester/guided"
GUIDANCE = Guidance(energy=Term(Energy(GradCAM()), 0.5, "rows"))


def test_round_trip(hub, pauses, tmp_path):
    info = GUIDANCE.push_to_hub(REPO, commit_message="how it was guided")
    repo = hub.repo(REPO)
    assert Guidance.from_pretrained(REPO) == GUIDANCE
    assert (info.oid, repo.commits[-1].message, len(repo.commits)) == (repo.commits[-1].oid, "how it was guided", 2)
    Guidance().push_to_hub(REPO)
    assert Guidance.from_pretrained(REPO) == Guidance()
    assert Guidance.from_pretrained(REPO, revision=info.oid) == GUIDANCE
    GUIDANCE.save(tmp_path)
    assert Guidance.from_pretrained(tmp_path) == Guidance.load(tmp_path) == GUIDANCE
    assert {path.name for path in tmp_path.iterdir()} == {"guidance.json", "home"}


def test_nothing_else_in_the_repo_changes(hub, pauses):
    before = {"README.md": b"my own words", "model.safetensors": b"weights"}
    hub.put(REPO, before)
    GUIDANCE.push_to_hub(REPO)
    assert {name: hub.files(REPO)[name] for name in before} == before


def test_a_repo_without_one(hub, pauses, tmp_path):
    hub.put(REPO, {"config.json": b"{}"})
    with pytest.raises(ValueError, match=rf"guidance\.json of the repo {REPO}: the repo has no such file"):
        Guidance.from_pretrained(REPO)
    with pytest.raises(ValueError, match=r"guidance\.json does not exist"):
        Guidance.from_pretrained(tmp_path)


def test_a_branch_that_is_not_there_makes_no_repo(hub, pauses):
    with pytest.raises(ValueError, match="leave the revision out, or make the repo and the branch first"):
        GUIDANCE.push_to_hub(REPO, revision="v2")
    assert not hub.repos


def test_a_folder_that_is_gone_is_told_as_one(hub, pauses):
    with pytest.raises(ValueError, match=r"there is no such repo \(404\).* There is no folder runs/final here either"):
        Guidance.from_pretrained("runs/final")
    hub.fail("HEAD", ".", status=401)
    with pytest.raises(PermissionError, match="There is no folder runs/final here either"):
        Guidance.from_pretrained("runs/final")


def test_a_hundred_megabytes_are_never_read(hub, pauses, tmp_path, monkeypatch):
    with (tmp_path / "guidance.json").open("wb") as file:
        file.truncate(100_000_000)
    hub.put(REPO, {"guidance.json": b" " * 100_000_000})
    monkeypatch.setattr(Path, "open", None)
    with pytest.raises(ValueError, match="100,000,000 bytes"):
        Guidance.from_pretrained(REPO)
    assert not hub.seen("GET", "/resolve/")
    for read in (Guidance.load, Guidance.from_pretrained):
        with pytest.raises(ValueError, match="100,000,000 bytes"):
            read(tmp_path)


def test_who_may_not_read_or_write(hub, pauses):
    GUIDANCE.push_to_hub(REPO, private=True)
    hub.fail("HEAD", ".", status=401)
    with pytest.raises(PermissionError, match=r"401.*hf auth login"):
        Guidance.from_pretrained(REPO)
    with pytest.raises(PermissionError, match="403") as raised:
        GUIDANCE.push_to_hub(REPO, token="hf_anotherOneThatMayNotWrite00000000")
    assert TOKEN not in str(raised.value)


def task(more=""):
    return f'{{"a": {{"type": "Term", "objective": {{"type": "TaskLoss"{more}}}}}}}'


def nested(levels):
    return '{"a":' * levels + "1" + "}" * levels


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("", "is not JSON"),
        ("[]", "a guidance is an object of term name to term, not list"),
        ("null", "not NoneType"),
        ('{"a": {"type": "Energy"}, "a": {"type": "Energy"}}', "'a' is given twice"),
        (task(', "label_smoothing": NaN'), "NaN is no number of JSON"),
        (task(', "label_smoothing": -Infinity'), "-Infinity is no number"),
        (task(', "label_smoothing": 1e999'), "the number 1e999 is too large"),
        (task(', "label_smoothing": ' + "9" * 5000), "the number 9999.* is too large"),
        (task(', "label_smoothing": "0.1"'), r"label_smoothing='0.1' is not of type float"),
        (task(', "label_smoothing": true'), r"label_smoothing=True is not of type float"),
        (task(', "class_weights": [1, "2"]'), r"class_weights=\(1, '2'\) is not of type"),
        (task(', "later": 1'), r"TaskLoss has no field 'later'.*pip install -U hf-guidance"),
        ('{"a": {"type": "OfLater"}}', r"unknown name 'OfLater'.*pip install -U hf-guidance"),
        ('{"a": {"type": "os.system"}}', "unknown name 'os.system'"),
        ('{"a": {"type": "Energy", "attribution": {"function": "GradCAM"}}}', "is no function"),
        ('{"a": {"type": "Energy", "attribution": {"function": "zeros", "more": 1}}}', "is no function"),
        ('{"a": {"type": "Energy", "attribution": 5}}', "attribution=5 is not of type Attribution"),
        ('{"a": {"type": "Energy", "importance": 5}}', "importance=5 is not of type str"),
        ('{"a": {"type": "Objective"}}', "a: Objective.* cannot be used: Objective must define needs"),
        ('{"a": {"type": "MostAttributed", "attribution": {"type": "Objective"}}}', "MostAttributed cannot be built"),
        (nested(40), "nested more than 32 levels deep"),
        (nested(100_000), "nested more than 32 levels deep"),
        ("[" * 100_000, "nested more than 32 levels deep|is not JSON"),
        (json.dumps({str(i): {} for i in range(101)}), "101 terms; at most 100"),
        (json.dumps({"a": [0] * 200_000}), "more than 100,000 values"),
        ('{"%s": {"type": "Energy"}}' % ("x" * 101), "at most 100 characters"),
        ('{"a\\n": {"type": "Energy"}}', "give a printable name"),
        ('{"a/b": {"type": "Energy"}}', "without slash"),
        ('{"\\ud800": {"type": "Energy"}}', "give a printable name"),
        ('{"a": {"type": "Energy", "grid": "%s"}}' % ("x" * 900_000), "grid='xxx"),
        ('{"a": {"type": "%s"}}' % ("x" * 900_000), "unknown name 'xxx"),
        (
            '{"format_version": 2}',
            f"is of format 2, and this version .* reads up to {FORMAT}: `pip install -U hf-guidance`",
        ),
        ('{"format_version": "2"}', "format_version is '2'"),
        ('{"format_version": true}', "format_version is True"),
        (" " * 1_000_001, "1,000,001"),
    ],
)
def test_what_is_refused(text, message, tmp_path):
    (tmp_path / "guidance.json").write_text(text)
    with pytest.raises(ValueError, match=message) as raised:
        Guidance.from_pretrained(tmp_path)
    assert len(str(raised.value)) < 5000
    assert type(raised.value) is ValueError


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "guidance.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(ValueError, match=r"guidance\.json is not text in UTF-8"):
        Guidance.load(tmp_path)


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({1: {"type": "Energy"}}, "the name 1 is not text"),
        ({"a": {"type": "Energy", "x": float("nan")}}, "nan is no number"),
        ({"a": 10**400}, "too large"),
    ],
)
def test_python_values_are_checked_as_the_text_is(plain, message):
    with pytest.raises(ValueError, match=message):
        Guidance.from_dict(plain)


def test_a_value_that_holds_itself():
    endless = []
    endless.append(endless)
    with pytest.raises(ValueError, match="nested more than 32"):
        Guidance.from_dict({"a": endless})


def test_what_cannot_be_read_back_is_not_written(tmp_path):
    many = Guidance({f"term{i}": Energy() for i in range(100)})
    with pytest.raises(ValueError, match="101 terms"):
        many.save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_many_class_weights_fit(tmp_path):
    guidance = Guidance(task=TaskLoss(class_weights=tuple(1 / (i + 1) for i in range(20_000))))
    guidance.save(tmp_path)
    assert Guidance.load(tmp_path) == guidance


def test_a_term_may_have_any_name_of_the_format():
    named = Guidance(format_version=Energy())
    assert parse_document(named.to_json()) == named.to_dict()
    assert Guidance.from_dict(named.to_dict()) == named


def test_files_of_before_read_as_they_were():
    for file in (Path(__file__).parents[1] / "before").rglob("guidance.json"):
        assert Guidance.from_dict(read_document(file)).to_json() == file.read_text()

import json
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_guidance.attributions import GradCAM, Gradient, IntegratedGradients, PredictedLogit
from hf_guidance.guidance import Guidance, Term
from hf_guidance.guidance.serialization import from_plain, known_names, to_plain
from hf_guidance.objectives import Energy, GradMask, MinMax, RightReasons, TaskLoss
from hf_guidance.views import Important, View, negative_ones, zeros


def test_only_what_differs_is_written():
    guidance = Guidance(energy=Term(Energy(GradCAM()), weight=0.5))
    assert guidance.to_dict() == {
        "task": {"type": "Term", "objective": {"type": "TaskLoss"}},
        "energy": {
            "type": "Term", "weight": 0.5, "objective": {"type": "Energy", "attribution": {"type": "GradCAM"}},
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [
        Energy(
            IntegratedGradients("mid1", PredictedLogit(), steps=5, baseline=negative_ones),
            MinMax(),
            "mask",
            "attribution",
        ),
        GradMask(variant="official"),
        RightReasons(Gradient(channels="keep")),
        View(Important(0.25, invert=True, column="attention"), zeros, draw=2, layer="mid1"),
        TaskLoss(0.1),
        (1, 2.5, None, "text", True, (Energy(), ())),
    ],
    ids=lambda value: type(value).__name__,
)
def test_round_trip(value):
    assert from_plain(json.loads(json.dumps(to_plain(value)))) == value


def test_every_known_name_finds_itself():
    for name, value in known_names().items():
        assert getattr(value, "__name__", name) == name or not isinstance(value, type)


def test_what_has_no_public_name_is_refused_with_its_path():
    with pytest.raises(ValueError, match=r"energy\.objective\.attribution\.baseline: <function"):
        Guidance(energy=Energy(IntegratedGradients(baseline=lambda features, importance: features))).to_dict()


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        (
            {"e": {"type": "Term", "objective": {"type": "Enrgy"}}},
            r"e\.objective: unknown name 'Enrgy'.*Did you mean \['Energy'",
        ),
        ({"e": {"type": "Energy", "attribtion": 1}}, r"e: Energy has no field 'attribtion'; it has \['attribution'"),
        (
            {"e": {"type": "Energy", "attribution": {"type": "GradCAM", "relus": 1}}},
            r"e\.attribution: GradCAM has no field 'relus'",
        ),
        ({"e": {"type": "Energy", "grid": "pixels"}}, r"e: Energy cannot be built.*grid='pixels'"),
        ({"e": {"type": "Energy", "normalization": {"type": "Max"}}}, r"e\.normalization: unknown name 'Max'.*MaxAbs"),
        ({"e": {"type": "Term"}}, r"e: Term cannot be built.*objective"),
        ({"e": {"objective": {"type": "Energy"}}}, "e: unknown name None"),
        ({"e": {"type": "GradCAM"}}, "e.*GradCAM.*Objective"),
        ({"e": 3}, "'?e'?.*3.*Objective"),
        ({"e": {"type": "zeros"}}, "e: "),
        ({"e": {"type": ["Energy"]}}, r"e: unknown name \['Energy'\]"),
        ({"e": {"type": "FULL"}}, "e: .*FULL.*type"),
        ([], "guidance"),
    ],
)
def test_errors_name_path_type_and_field(plain, message):
    with pytest.raises(ValueError, match=message):
        Guidance.from_dict(plain)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["Energy", "zeros", "Term", "FULL", "x"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["type", "function", "objective", "attribution", "weight", "a"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["task", "e"]), PLAIN, max_size=2))
@settings(max_examples=300, deadline=None)
def test_any_json_gives_a_guidance_or_a_value_error(plain):
    try:
        guidance = Guidance.from_dict(plain)
    except ValueError:
        return
    assert isinstance(guidance, Guidance)


@dataclass(frozen=True)
class Mine(Energy):
    sharpness: float = 1.0


def test_user_defined_types():
    guidance = Guidance(mine=Mine(sharpness=2.0))
    plain = guidance.to_dict()
    with pytest.raises(ValueError, match=r"mine\.objective: unknown name 'Mine'"):
        Guidance.from_dict(plain)
    assert Guidance.from_dict(plain, {"Mine": Mine}) == guidance


def test_files(tmp_path):
    guidance = Guidance(energy=Term(Energy(GradCAM()), 0.5, "rows"))
    guidance.save(tmp_path)
    assert Guidance.load(tmp_path) == guidance
    with pytest.raises(ValueError, match=r"does not exist.*checkpoint"):
        Guidance.load(tmp_path / "nowhere")
    (tmp_path / "guidance.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        Guidance.load(tmp_path)


def test_a_class_with_the_name_of_a_public_one_is_refused():
    @dataclass(frozen=True)
    class Energy(RightReasons):
        pass

    with pytest.raises(ValueError, match=r"guidance: the class .*Energy has the name of one of hf_guidance"):
        to_plain(Energy())


def test_a_failed_save_keeps_the_file(tmp_path, monkeypatch):
    Guidance().save(tmp_path)
    before = (tmp_path / "guidance.json").read_text()

    def fail(*args):
        raise OSError("full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="full"):
        Guidance(energy=Energy()).save(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["guidance.json"]
    assert (tmp_path / "guidance.json").read_text() == before

"""expression: values as Python writes them, without addresses."""

from dataclasses import dataclass

from hf_guidance import Guidance, Term
from hf_guidance.attributions import GradCAM, Gradient, IntegratedGradients, PredictedLogit
from hf_guidance.guidance.expression import expression, method_text
from hf_guidance.objectives import Energy
from hf_guidance.views import negative_ones


def test_defaults_are_left_out_and_functions_are_named():
    assert expression(GradCAM()) == "GradCAM()"
    method = IntegratedGradients(steps=8, target=PredictedLogit(), baseline=negative_ones)
    assert expression(method) == "IntegratedGradients(target=PredictedLogit(), steps=8, baseline=negative_ones)"
    assert method_text(Gradient("a.b")) == "Gradient(layer=\"a.b\") at 'a.b'"
    assert expression([1, None, "é"]) == '[1, null, "é"]'


def test_a_guidance_reads_alike_before_and_after_its_file():
    term = Term(Energy(IntegratedGradients(steps=8, baseline=negative_ones)), 0.5)
    plain = Guidance(energy=term).to_dict()["energy"]
    assert expression(plain) == expression(term)


def test_what_users_write_has_a_name_and_no_address():
    @dataclass
    class Own:
        f: object = None
        inner: object = None

    text = expression(Own(lambda x: x, Own(object())))
    assert text.startswith("Own(f=test_what_users_write")
    assert "0x" not in text


def test_what_lies_deep_is_cut():
    deep = "x"
    for _ in range(50):
        deep = {"type": "A", "a": deep}
    assert len(expression(deep)) < 200

"""What several answers stand for, and the paper's file."""

import pytest

from hf_guidance.data.images.votes import AgreementRule


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["yes", "yes"], "yes"),
        (["no", "no"], "no"),
        (["yes", "no"], "maybe"),
        (["yes", "yes", "no"], "maybe"),  # 0.67: the rule is not symmetric
        (["yes", "no", "no"], "no"),
        (["yes", "yes", "yes", "no"], "yes"),
        ([], "maybe"),
        ([None, None], "maybe"),
        (["yes", None], "yes"),
        (["maybe"], "maybe"),
        (["maybe", "yes"], "yes"),
        (["maybe", "no"], "no"),
    ],
)
def test_the_rule_of_the_paper(answers, expected):
    assert AgreementRule()(answers) == expected


def test_the_limits_belong_to_maybe():
    assert AgreementRule()(["yes"] * 7 + ["no"] * 3) == "maybe"
    assert AgreementRule()(["yes"] * 8 + ["no"] * 3) == "yes"
    assert AgreementRule()(["yes", "no"]) == "maybe"
    assert AgreementRule()(["yes"] * 4 + ["no"] * 5) == "no"


def test_other_rules_by_their_fields():
    assert AgreementRule(above=0.5)(["yes", "yes", "no"]) == "yes"
    assert AgreementRule(unsure=None)(["maybe", "maybe", "yes"]) == "yes"
    assert AgreementRule(unsure=None, unanswered="no")(["maybe"]) == "no"


@pytest.mark.parametrize(
    "fields", [{"above": 1.5}, {"least": float("nan")}, {"least": 0.8}, {"unsure": -1}, {"unanswered": "perhaps"}]
)
def test_rules_that_are_none(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        AgreementRule(**fields)


def test_an_unknown_word_is_refused():
    with pytest.raises(ValueError, match=r"'Yes'.*\('yes', 'no', 'maybe'\)|'Yes' is unknown"):
        AgreementRule()(["Yes"])

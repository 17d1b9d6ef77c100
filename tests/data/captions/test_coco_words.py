"""The table of COCO's visual words: the 80 categories, words of captions, and the rule by which it was built."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from hf_guidance.data import VisualWords
from hf_guidance.data.captions.visual_words import COCO_FILE

ROOT = Path(__file__).parents[3]
WORDNET = Path("/usr/share/wordnet")
NAMES = """person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant stop_sign
parking_meter bench bird cat dog horse sheep cow elephant bear zebra giraffe backpack umbrella handbag
tie suitcase frisbee skis snowboard sports_ball kite baseball_bat baseball_glove skateboard surfboard
tennis_racket bottle wine_glass cup fork knife spoon bowl banana apple sandwich orange broccoli carrot
hot_dog pizza donut cake chair couch potted_plant bed dining_table toilet tv laptop mouse remote keyboard
cell_phone microwave oven toaster sink refrigerator book clock vase scissors teddy_bear hair_drier
toothbrush"""


@pytest.fixture(scope="module")
def words():
    return VisualWords.coco()


def test_its_categories_are_those_of_coco(words):
    names = [name.replace("_", " ") for name in NAMES.split()]
    assert len(names) == 80
    assert list(words.categories) == names  # in COCO's order
    for name in names:
        assert words.category(name) == name


@pytest.mark.parametrize(
    ("caption", "categories"),
    [
        ("Two women and a child feed puppies on a park bench", ["person", "person", "dog", "bench"]),
        ("A man eating a hot dog at a table", ["person", "hot dog", "dining table"]),
        ("the batter swings his bat at the ball", ["person", "baseball bat", "sports ball"]),
        ("A teddy bear, a polar bear and a baby elephant", ["teddy bear", "bear", "elephant"]),
        ("people wait at a bus stop with luggage", ["person", "suitcase"]),
        ("geese and calves near a fire-hydrant", ["bird", "cow", "fire hydrant"]),
        ("a fridge, a stove, a kitchen sink and knives", ["refrigerator", "oven", "sink", "knife"]),
        ("someone cooks on a sunny day, a miss", []),
        ("a bike and a bag", []),  # of two categories each
        ("a stop sign, traffic lights and a cell phone", ["stop sign", "traffic light", "cell phone"]),
    ],
)
def test_captions(words, caption, categories):
    assert [each.category for each in words.find(caption)] == categories


def test_the_file_says_how_it_was_built():
    content = json.loads(COCO_FILE.read_text("utf-8"))
    assert "WordNet" in content["source"]
    assert [rule.split(".")[0] for rule in content["rule"]] == list("1234567")
    listed = [name for names in content["words"].values() for name in names]
    assert len(listed) == len(set(listed)) > 830
    assert all(names == sorted(names) for names in content["words"].values())


def test_the_file_is_what_the_rule_gives():
    missing = [name for name in ("nltk", "wordfreq") if importlib.util.find_spec(name) is None]
    if missing or not (WORDNET / "data.noun").is_file():
        pytest.skip("its sources are absent: pip install nltk wordfreq, and WordNet's files in /usr/share/wordnet")
    run = [sys.executable, str(ROOT / "tests" / "tools" / "build_visual_words.py"), "--check"]
    done = subprocess.run(run, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr

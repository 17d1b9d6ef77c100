"""Build hf_guidance/data/captions/coco_visual_words.json: names of COCO's categories from WordNet.

    pip install nltk wordfreq; apt-get install wordnet-base
    python tests/tools/build_visual_words.py [--wordnet /usr/share/wordnet] [--check]

The rule, which the file repeats:

1. A category's meanings are the noun synsets of WordNet in CATEGORIES, chosen by hand, and the synsets below them
   (hyponyms), as many steps as STEPS says, but for the synsets in NOT_BELOW and those below them.
2. Its names are the category's own name and the lemmas in lower case of its meanings, of at most three words. A lemma counts
   where its first, most frequent, noun sense in WordNet is one of the category's meanings, or where BY_HAND says so: those are
   words that mean the category in captions though not first in WordNet.
3. Names that English text hardly has (Zipf frequency of wordfreq below MIN_ZIPF) are left out, but for own names and BY_HAND.
4. A name of two categories goes to the one whose chosen synset is fewer steps above it; with equal steps it is left out.
5. EXCLUDED holds names that mean something else in captions, read and struck out by hand.
6. NO_CATEGORY holds names that contain a name but show no such object: they name nothing.
7. Each name comes with its plural: WordNet's irregular ones (noun.exc), else the regular one. A plural that names another
   category, or is itself struck out, is left out.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

from visual_words_by_hand import BY_HAND, CATEGORIES, EXCLUDED, MIN_ZIPF, NO_CATEGORY, NOT_BELOW, STEPS

from hf_guidance.data.captions.visual_words import COCO_FILE, VisualWords, plural, words_of

_NAME = re.compile(r"[a-z]+(?:[ -][a-z]+){0,2}")
Steps = dict[str, dict[str, int]]


def wordnet_reader(folder: Path) -> Any:
    """nltk's reader of a folder of WordNet's files."""
    import nltk
    from nltk.corpus.reader.wordnet import WordNetCorpusReader

    root = Path(tempfile.mkdtemp()) / "wordnet"
    shutil.copytree(
        folder, root, ignore=lambda _, names: [n for n in names if not re.match(r"(data|index)\.|.*\.exc$", n)]
    )
    nltk.data.path.append(str(root))  # nltk reads nothing elsewhere
    # Debian leaves out the list of lexicographers' files, of which nltk needs to know that there are 45; no rule reads it.
    (root / "lexnames").write_text("".join(f"{number:02d}\tfile{number:02d}\t1\n" for number in range(45)))

    class Reader(WordNetCorpusReader):  # type: ignore[misc]
        def map_wn(self, version: str = "wordnet") -> None:
            """The offsets of another version, for multilingual wordnets, which are not read."""

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about those wordnets
        return Reader(str(root), None)


def meanings(wordnet: Any, category: str) -> dict[Any, int]:
    """The synsets of a category, and how many steps each is below the chosen ones."""
    barred = {wordnet.synset(name) for name in NOT_BELOW.get(category, ())}
    steps: dict[Any, int] = {}
    for name in CATEGORIES[category]:
        layer, step = [wordnet.synset(name)], 0
        while layer and step <= STEPS.get(name, step):
            for synset in layer:
                steps[synset] = min(step, steps.get(synset, step))
            below = {under for synset in layer for under in synset.hyponyms()}
            layer, step = (
                [under for under in below if under not in barred and steps.get(under, step + 2) > step + 1],
                step + 1,
            )
    return steps


def candidates(wordnet: Any) -> Steps:
    """Name -> category -> steps from the chosen synset, by rules 1 to 3."""
    from wordfreq import zipf_frequency

    found: Steps = {}
    for category in CATEGORIES:
        synsets = meanings(wordnet, category)
        kept = set(BY_HAND.get(category, ()))
        for synset, step in synsets.items():
            for lemma in synset.lemma_names():
                name = lemma.replace("_", " ")
                if not _NAME.fullmatch(name):
                    continue
                first = wordnet.synsets(lemma, "n")[0] in synsets
                if name in kept or (first and zipf_frequency(name, "en") >= MIN_ZIPF):
                    of_name = found.setdefault(words_of(name), {})
                    of_name[category] = min(step, of_name.get(category, step))
        for name in (category, *kept):
            found.setdefault(words_of(name), {})[category] = -1
    return found


def irregular_plurals(folder: Path) -> dict[str, list[str]]:
    """Singular -> plurals that no rule of spelling gives."""
    found: dict[str, list[str]] = {}
    for line in (folder / "noun.exc").read_text().splitlines():
        form, *singulars = line.split()
        for singular in singulars:
            found.setdefault(singular.replace("_", " "), []).append(form.replace("_", " "))
    return found


def plurals(name: str, irregular: dict[str, list[str]]) -> list[str]:
    """The plurals of a name, of its last word."""
    before, _, last = name.rpartition(" ")
    forms = [form for form in irregular.get(last, []) if re.fullmatch("[a-z]+", form)]
    # "firemen" is not among the irregular ones of WordNet in all compounds
    if not forms and last.endswith(("man", "woman")) and last not in ("human", "roman", "german"):
        forms = [last[:-2] + "en"]
    return [f"{before} {form}".strip() for form in forms or [plural(last)]]


def build(folder: Path) -> dict[str, list[str]]:
    """Category -> its names, those that name nothing under ""."""
    wordnet, irregular = wordnet_reader(folder), irregular_plurals(folder)
    struck = {words_of(name) for name in EXCLUDED}
    chosen: dict[str, str] = {}
    for name, steps in candidates(wordnet).items():
        nearest = min(steps.values())
        nearest_of = [category for category, step in steps.items() if step == nearest]
        if len(nearest_of) == 1 and name not in struck:
            chosen[name] = nearest_of[0]
    table = dict(chosen)
    for name, category in chosen.items():
        for form in plurals(name, irregular):
            if form not in struck and table.get(form, category) == category:
                table[form] = category
    lists = {category: sorted(n for n, of in table.items() if of == category) for category in CATEGORIES}
    nothing = sorted({form for name in NO_CATEGORY for form in (name, *plurals(name, irregular))} - table.keys())
    return {**lists, "": nothing}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"), help="Folder of WordNet's files.")
    parser.add_argument("--check", action="store_true", help="Compare with the file, and write nothing.")
    args = parser.parse_args()
    words = build(args.wordnet)
    VisualWords.of_categories(words)  # no name has two categories
    if args.check:
        same = json.loads(COCO_FILE.read_text("utf-8"))["words"] == words
        raise SystemExit(0 if same else "the file is not what the rule gives; run without --check")
    rule = (__doc__ or "").split("The rule, which the file repeats:")[1].strip()
    about = {
        "source": "WordNet 3.0, Princeton University, https://wordnet.princeton.edu; tests/tools/build_visual_words.py",
        "rule": [" ".join(part.split()) for part in re.split(r"\n(?=\d\. )", rule)],
    }
    content = json.dumps({**about, "words": words}, indent=1, ensure_ascii=False)
    COCO_FILE.write_text(re.sub(r"\[\n\s+([^\[\]]*?)\n\s+\]", _on_one_line, content) + "\n", encoding="utf-8")
    counted = {category: len(names) for category, names in words.items()}
    print(f"{sum(counted.values())} names: {counted}")


def _on_one_line(match: re.Match[str]) -> str:
    """A list of names on lines of some length, not a line for each."""
    items = [item.strip() for item in match[1].split("\n")]
    lines, line = [], ""
    for item in items:
        if line and len(line) + len(item) > 110:
            lines.append(line)
            line = ""
        line = f"{line} {item}".strip()
    return "[\n   " + "\n   ".join([*lines, line]) + "\n  ]"


if __name__ == "__main__":
    main()

"""The web page of the metric, for a Space; the same file for every metric of hf_guidance."""

import ast
import inspect
import json
import re
from pathlib import Path

import evaluate
import gradio as gr

HERE = Path(__file__).parent
FILE = next(file for file in sorted(HERE.glob("*.py")) if file.name != "app.py")
MATHS = [{"left": "$$", "right": "$$", "display": True}, {"left": "$", "right": "$", "display": False}]

metric = evaluate.load(str(FILE))
text = (HERE / "README.md").read_text("utf-8")
title, card = re.search(r"^# (?:Metric Card for )?(.*)\n([\s\S]*)", text, re.MULTILINE).groups()
columns = list(metric.features)
options = [name for name in inspect.signature(metric._compute).parameters if name not in columns]
shown = re.search(r">>> \w+\.(compute\(.*\))\n", card)  # the card's example fills the fields, where it has one
keywords = ast.parse(shown[1], mode="eval").body.keywords if shown else []
example = {keyword.arg: ast.literal_eval(keyword.value) for keyword in keywords}


def compute(*texts):
    """Return what the metric gives for the texts of the fields, one for each column and the last one for the options."""
    given = {}
    for name, text in zip([*columns, "options"], texts, strict=True):
        try:
            given[name] = json.loads(text or "null")
        except json.JSONDecodeError as error:
            raise gr.Error(f"{name} is not JSON: {error}") from error
    chosen = given.pop("options")
    chosen = {} if chosen is None else chosen
    if not isinstance(chosen, dict) or not set(chosen) <= set(options):
        raise gr.Error(f"options: give an object with some of the names {options}, such as {{}}.")
    try:
        return metric.compute(**{name: value for name, value in given.items() if value is not None}, **chosen)
    except (TypeError, ValueError) as error:
        raise gr.Error(str(error)) from error


with gr.Blocks(title=title) as page:
    gr.Markdown(f"# {title}\n{metric.description}\n\nEvery field is a JSON list with one entry per row.")
    with gr.Row():
        with gr.Column():
            texts = [json.dumps(example[name]) if name in example else "" for name in columns]
            fields = [gr.Textbox(text, label=name, lines=2) for name, text in zip(columns, texts, strict=True)]
            fields.append(gr.Textbox("{}", label=f"options: {', '.join(options) or 'none'}"))
            button = gr.Button("Compute", variant="primary")
        result = gr.JSON(label="Result")
    button.click(compute, fields, result)
    gr.Markdown(card, latex_delimiters=MATHS)

if __name__ == "__main__":
    page.launch()

"""Small folders of raw questions, with whatever a test needs to be wrong in them."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

ANSWERS = ["red"] * 6 + ["dark red"] * 2 + ["Red.", "the red"]


def write_json(path: Path, content) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def question(number: int, **others) -> dict:
    return {"question_id": number, "image_id": number // 2, "question": f"What color is thing {number}?", **others}


def annotation(number: int, **others) -> dict:
    answers = [{"answer": answer, "answer_confidence": "yes", "answer_id": i + 1} for i, answer in enumerate(ANSWERS)]
    fields = {"question_id": number, "image_id": number // 2, "answers": answers, "multiple_choice_answer": "red"}
    return {**fields, "question_type": "what color is", "answer_type": "other", **others}


def make_vqa_v2(root: Path, questions=None, annotations=None, count: int = 4) -> Path:
    """Questions 0 to count - 1 in train, count to 2 * count - 1 in val, one of test without annotation."""
    for split, first in (("train2014", 0), ("val2014", count)):
        numbers = range(first, first + count)
        asked = [question(number) for number in numbers] if questions is None or first else questions
        answered = [annotation(number) for number in numbers][::-1] if annotations is None or first else annotations
        write_json(root / f"v2_OpenEnded_mscoco_{split}_questions.json", {"info": {}, "questions": asked})
        write_json(root / f"v2_mscoco_{split}_annotations.json", {"annotations": answered})
    write_json(root / "v2_OpenEnded_mscoco_test2015_questions.json", {"questions": [question(2 * count)]})
    return root


def make_vqa_cp(root: Path, count: int = 4) -> Path:
    for split, first in (("train", 0), ("test", count)):
        cut = [{"coco_split": ("train2014", "val2014")[number % 2]} for number in range(count)]
        asked = [question(first + number, **cut[number]) for number in range(count)]
        answered = [annotation(first + number, **cut[number]) for number in range(count)]
        write_json(root / f"vqacp_v2_{split}_questions.json", asked)
        write_json(root / f"vqacp_v2_{split}_annotations.json", answered)
    return root


def write_map(path: Path, value: int = 200, size: tuple[int, int] = (40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros(size[::-1], np.uint8)
    pixels[: size[1] // 2, : size[0] // 4] = value
    Image.fromarray(pixels).save(path)
    return path


def make_vqa_hat(root: Path) -> Path:
    """Maps for questions 1 and 3 of train (one annotator) and 5 of val (three)."""
    make_vqa_v2(root)
    for name in ("1_1", "3_1", "5_1", "5_2", "5_3"):
        write_map(root / "maps" / f"{name}.png", value=40 * int(name[2]))
    return root


def gqa_question(argument: str = "apple (3381764)", **others) -> dict:
    program = [{"operation": "select", "dependencies": [], "argument": argument}]
    types = {"structural": "query", "semantic": "attr"}
    fields = {"imageId": "im", "question": "Is it red?", "answer": "yes", "semantic": program, "types": types}
    return {**fields, **others}


def make_gqa(root: Path, questions: dict | None = None, objects: dict | None = None) -> Path:
    objects = {"3381764": {"x": 1, "y": 18, "w": 41, "h": 38, "name": "apple"}} if objects is None else objects
    graphs = {"im": {"width": 114, "height": 65, "objects": objects}}
    questions = {"q1": gqa_question(), "q2": gqa_question("apple (3381764)")} if questions is None else questions
    for split in ("train", "val"):
        write_json(root / f"{split}_balanced_questions.json", questions)
        write_json(root / f"{split}_sceneGraphs.json", graphs)
    return root


def clevr_question(index: int, key: str = "type", **others) -> dict:
    fields = {"question_index": index, "image_index": index, "image_filename": f"CLEVR_val_{index:06d}.png"}
    program = [{key: "scene", "inputs": []}, {key: "query_material", "inputs": [0]}]
    return {**fields, "question": "What is it made of?", "answer": "metal", "program": program, **others}


def make_clevr_xai(root: Path, simple=None, complexes=None) -> Path:
    simple = [clevr_question(number) for number in range(3)] if simple is None else simple
    complexes = (
        [clevr_question(0, "function", answer=True), clevr_question(1, answer=2)] if complexes is None else complexes
    )
    write_json(root / "CLEVR-XAI_simple_questions.json", {"info": {}, "questions": simple})
    write_json(root / "CLEVR-XAI_complex_questions.json", {"questions": complexes})
    for index in range(3):
        write_map(root / "images" / f"CLEVR_val_{index:06d}.png", size=(48, 32))
        for part, kind in (("simple", "single_object"), ("complex", "unique"), ("complex", "union")):
            folder = root / f"ground_truth_{part}_questions_{kind}"
            folder.mkdir(exist_ok=True)
            mask = np.zeros((32, 48), bool)
            mask[: 4 + index, : 8 + 4 * (kind == "union")] = True
            np.save(folder / f"{index}.npy", mask)
    return root


def introspect_entry(number: int, *responses: dict, **others) -> dict:
    """A reasoning question of `make_vqa_v2`, with one sub-question where no responses are given."""
    given = list(responses) or [response(("Is it bright?", "yes"))]
    fields = {"image_id": number // 2, "reasoning_question": f"what color is thing {number}", "introspect": given}
    return {**fields, "reasoning_answer_most_common": "red", **others}


def response(*pairs: tuple[str, str], kind: str = "reasoning") -> dict:
    """What one person answered: sub-questions and their answers."""
    return {"pred_q_type": kind, "sub_qa": [{"sub_question": asked, "sub_answer": answer} for asked, answer in pairs]}


def make_vqa_introspect(root: Path, train: dict | None = None, val: dict | None = None) -> Path:
    """Entries for questions 0 and 2 of train and 4 of val; 1, 3 and 5 are irrelevant to them."""
    make_vqa_v2(root)
    train = {str(number): introspect_entry(number) for number in (0, 2)} if train is None else train
    val = {"4": introspect_entry(4)} if val is None else val
    write_json(root / "VQAIntrospect_trainv1.0.json", train)
    write_json(root / "VQAIntrospect_valv1.0.json", val)
    return root

"""hf-guidance explain: pictures, JSON and maps; images that cannot be read; runs that were stopped."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
import typer
from kills import KILLED, kill_before
from PIL import Image
from safetensors.numpy import load_file
from transformers import AutoImageProcessor, AutoModelForImageClassification

from hf_guidance import Guidance, explain
from hf_guidance.apps.cli.entry import run
from hf_guidance.apps.cli.explained_target import target_of


def entries(folder):
    return json.loads((folder / "explanations.json").read_text())["explanations"]


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def approximately(values):
    return {
        name: pytest.approx(value, abs=1e-5) if isinstance(value, float) else value for name, value in values.items()
    }


def test_a_folder_of_images_as_a_process(copied, checkpoint, photos, tmp_path):
    ended = copied("explain", checkpoint, photos, "--output", tmp_path / "maps", "--maps", "npy", "--device", "cpu")
    assert ended.code == 0, ended.err
    assert "\x1b" not in ended.err
    names = ["more/three", "one", "two"]
    assert files(tmp_path / "maps") == sorted(
        ["explanations.json", *(f"{name}.{end}" for name in names for end in ("png", "npy"))]
    )
    found = entries(tmp_path / "maps")
    assert [entry["picture"] for entry in found] == [f"{name}.png" for name in names]
    assert len(ended.out.splitlines()) == 3
    model = AutoModelForImageClassification.from_pretrained(checkpoint)
    processor = AutoImageProcessor.from_pretrained(checkpoint)
    method = Guidance.load(checkpoint)["energy"].objective.attribution
    theirs = explain(model, [entry["image"] for entry in found], processor, attribution=method)
    for entry, one in zip(found, theirs, strict=True):
        assert entry["classes"][0]["label"] == one.label
        assert entry["classes"][0]["score"] == pytest.approx(one.score)
        np.testing.assert_allclose(np.load(tmp_path / "maps" / entry["maps"])[0], one.map, rtol=1e-4, atol=1e-6)
        with Image.open(tmp_path / "maps" / entry["picture"]) as picture:
            assert picture.format == "PNG"


def test_target_rank_attribution_and_layer_are_handed_on(cli, checkpoint, photos, tmp_path):
    one, label = photos / "one.png", json.loads((checkpoint / "config.json").read_text())["id2label"]["1"]
    ended = cli("explain", checkpoint, one, "--output", tmp_path / "a", "--target", label, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["explanations"][0]["classes"][0]["target"] == 1
    cli("explain", checkpoint, one, "--output", tmp_path / "b", "--target", "1")
    assert entries(tmp_path / "b")[0]["classes"] == json.loads(ended.out)["explanations"][0]["classes"]
    words = ["--top-k", "2", "--attribution", "InputXGradient", "--layer", "input", "--maps", "safetensors"]
    assert cli("explain", checkpoint, one, "--output", tmp_path / "c", *words).code == 0
    (entry,) = entries(tmp_path / "c")
    assert entry["attribution"].startswith("InputXGradient() at 'input'")
    assert {found["target"] for found in entry["classes"]} == {0, 1}
    assert load_file(tmp_path / "c" / "one.safetensors")["maps"].shape == (2, 40, 48)


def test_images_that_cannot_be_read_are_named(cli, checkpoint, photos, tmp_path):
    (photos / "damaged.png").write_bytes((photos / "one.png").read_bytes()[:400])
    (photos / "text.jpg").write_text("no image")
    (photos / "notes.txt").write_text("not asked for")
    ended = cli("explain", checkpoint, photos, "--output", tmp_path / "maps")
    assert ended.code == 1
    for name in ("damaged.png", "text.jpg"):
        assert f"cannot be read: {photos / name}" in ended.err
    assert f"{photos}: no images by their names: notes.txt\n" in ended.err
    assert "2 of 5 images cannot be read" in ended.err
    assert len(ended.out.splitlines()) == len(entries(tmp_path / "maps")) == 3
    unreadable = json.loads((tmp_path / "maps" / "explanations.json").read_text())["unreadable"]
    assert [one["image"] for one in unreadable] == [str(photos / "damaged.png"), str(photos / "text.jpg")]
    ended = cli("explain", checkpoint, photos, "--output", tmp_path / "other", "--skip-unreadable")
    assert ended.code == 0
    assert "2 of 5 images cannot be read" in ended.err


@pytest.mark.parametrize("operation", [2, 5, 7, 9, 11, 13])
def test_a_run_that_was_killed_goes_on_and_leaves_nothing_half_written(
    operation, cli, checkpoint, photos, tmp_path, monkeypatch
):
    monkeypatch.setattr("hf_guidance.apps.cli.explained_files._PART", 1)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    words = ["explain", str(checkpoint), str(photos), "--device", "cpu", "--output"]
    assert cli(*words, whole).code == 0
    assert kill_before(operation, cut, lambda: run([*words, str(cut)])) == KILLED
    for name in files(cut):
        if name.endswith(".png") and ".draft-" not in name:
            Image.open(cut / name).load()
    before = {name: os.stat(cut / name).st_mtime_ns for name in files(cut) if name.endswith(".png")}
    progress = cut / "explanations.partial.jsonl"
    done = [json.loads(line) for line in progress.read_text().splitlines()[1:]] if progress.exists() else []
    assert not done or cli(*words, cut).code == 2  # results are there
    ended = cli(*words, cut, "--resume")
    assert ended.code == 0, ended.err
    assert files(cut) == files(whole)
    assert json.loads((cut / "explanations.json").read_text()) == json.loads((whole / "explanations.json").read_text())
    for entry in done:  # what was done is not made again
        assert os.stat(cut / entry["picture"]).st_mtime_ns == before[entry["picture"]]


def test_a_line_that_was_cut_off_is_left_out(cli, checkpoint, photos, tmp_path):
    words = ["explain", checkpoint, photos, "--output", tmp_path / "maps"]
    assert cli(*words).code == 0
    summary = json.loads((tmp_path / "maps" / "explanations.json").read_text())
    lines = [json.dumps({k: v for k, v in summary.items() if k not in ("explanations", "unreadable")})]
    lines += [json.dumps(entry) for entry in summary["explanations"]]
    (tmp_path / "maps" / "explanations.json").unlink()
    (tmp_path / "maps" / "explanations.partial.jsonl").write_text("\n".join(lines)[:-20])
    ended = cli(*words, "--resume")
    assert ended.code == 0
    assert "2 images were done before" in ended.err
    again = json.loads((tmp_path / "maps" / "explanations.json").read_text())
    for one, other in zip(again["explanations"], summary["explanations"], strict=True):  # of calls of other sizes
        assert one.pop("classes")[0] == approximately(other.pop("classes")[0])
    assert again == summary


def test_results_of_other_settings_are_not_mixed(cli, checkpoint, photos, tmp_path):
    words = ["explain", checkpoint, photos, "--output", tmp_path / "maps"]
    assert cli(*words).code == 0
    assert "add --resume to keep them" in cli(*words).err
    ended = cli(*words, "--resume", "--target", "1")
    assert ended.code == 2
    assert "was made with target=None, and this is 1" in " ".join(ended.err.split())
    (tmp_path / "maps" / "one.png").unlink()  # what is gone is made again
    ended = cli(*words, "--resume")
    assert "2 images were done before" in ended.err
    assert (tmp_path / "maps" / "one.png").is_file()
    other = shutil.copytree(checkpoint, tmp_path / "other")
    assert cli("explain", other, photos, "--output", tmp_path / "maps", "--resume").code == 2


@pytest.mark.parametrize(
    ("images", "words", "code", "message"),
    [
        (["nowhere"], [], 2, "nowhere does not exist"),
        ([""], ["--target", "horse"], 2, "'horse' is no label"),
        ([""], ["--target", "7"], 2, "the model has 2 classes"),
        ([""], ["--target", "number:7"], 2, "the model has 2 classes"),
        ([""], ["--top-k", "5"], 2, "top_k=5, and the model has 2 classes"),
        ([""], ["--top-k", "1000"], 2, "1000 classes do not fit into a picture, which holds 100"),
        ([""], ["--layer", "resnet.nothing"], 2, "is neither one of"),
        ([""], ["--attribution", "GradCM"], 2, "Did you mean GradCAM"),
        ([""], ["--maps", "csv"], 2, "choose one of none, npy, safetensors"),
        ([""], ["--target", "1", "--top-k", "2"], 2, "give one of the two"),
        (["one.png", "other/one.png"], [], 2, "two images are called one"),
    ],
)
def test_what_does_not_go_together_is_told(images, words, code, message, cli, checkpoint, photos, tmp_path):
    (photos / "other").mkdir()
    shutil.copy(photos / "one.png", photos / "other" / "one.png")
    ended = cli("explain", checkpoint, *(photos / image for image in images), "--output", tmp_path / "maps", *words)
    assert ended.code == code
    assert message in " ".join(ended.err.split())
    assert not (tmp_path / "maps").exists()  # so that the same folder can be named again, without --resume


def test_a_model_of_questions_is_refused(cli, answering, photos, tmp_path):
    ended = cli("explain", answering, photos, "--output", tmp_path / "maps", "--attribution", "LeaveOneOut")
    assert ended.code == 1
    assert "explain_answer" in ended.err


def test_pictures_of_one_name_have_files_of_their_own(cli, checkpoint, photos, tmp_path):
    shutil.copy(photos / "one.png", photos / "two.png")
    assert cli("explain", checkpoint, photos, "--output", photos / "maps").code == 0
    assert {"two.jpg.png", "two.png.png", "one.png"} <= set(files(photos / "maps"))
    ended = cli("explain", checkpoint, photos, "--output", tmp_path / "again", "--json")
    assert len(json.loads(ended.out)["explanations"]) == 8  # pictures of another run are images, too


def test_results_among_the_images_are_no_images_of_the_run(cli, checkpoint, photos):
    assert cli("explain", checkpoint, photos, "--output", photos / "maps").code == 0
    ended = cli("explain", checkpoint, photos, "--output", photos / "maps", "--resume")
    assert len(entries(photos / "maps")) == 3
    assert "3 images were done before" in ended.err


def test_a_bomb_is_named_and_not_opened(cli, checkpoint, photos, tmp_path):
    Image.new("1", (30000, 30000)).save(photos / "bomb.png")
    ended = cli("explain", checkpoint, photos, "--output", tmp_path / "maps")
    assert ended.code == 1
    assert "has more pixels than" in ended.err
    assert len(entries(tmp_path / "maps")) == 3


def test_an_image_is_never_overwritten(cli, checkpoint, photos):
    before = (photos / "one.png").read_bytes()
    ended = cli("explain", checkpoint, photos / "one.png", "--output", photos)
    assert ended.code == 2
    assert "one.png would be overwritten by a result; name another folder" in ended.err
    assert (photos / "one.png").read_bytes() == before


def test_results_of_images_of_equal_names_are_never_replaced(cli, checkpoint, photos, tmp_path):
    maps, other = tmp_path / "maps", shutil.copytree(photos, tmp_path / "other")
    Image.new("RGB", (40, 48), "red").save(other / "one.png")
    assert cli("explain", checkpoint, photos, "--output", maps, "--maps", "npy").code == 0
    before = {name: (maps / name).read_bytes() for name in files(maps)}
    ended = cli("explain", checkpoint, other, "--output", maps, "--maps", "npy", "--resume")
    assert ended.code == 2
    assert f"three.png is the result of {photos / 'more' / 'three.png'}" in " ".join(ended.err.split())
    assert {name: (maps / name).read_bytes() for name in files(maps)} == before
    (tmp_path / "more.png").write_bytes((photos / "one.png").read_bytes())  # another name is added to what is there
    assert cli("explain", checkpoint, tmp_path / "more.png", "--output", maps, "--maps", "npy", "--resume").code == 0
    assert len(entries(maps)) == 4


def test_an_image_that_changed_is_explained_anew(cli, checkpoint, photos, tmp_path):
    words = ["explain", checkpoint, photos, "--output", tmp_path / "maps"]
    assert cli(*words).code == 0
    (photos / "one.png").touch()
    Image.new("RGB", (30, 20), "red").save(photos / "two.jpg")
    ended = cli(*words, "--resume")
    assert ended.code == 0, ended.err
    assert "2 images were done before" in ended.err
    assert {entry["image"]: entry["size"] for entry in entries(tmp_path / "maps")}[str(photos / "two.jpg")] == [20, 30]
    (photos / "two.jpg").write_text("no image any more")
    assert cli(*words, "--resume").code == 1
    assert str(photos / "two.jpg") not in {entry["image"] for entry in entries(tmp_path / "maps")}


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_results_of_another_processor_or_of_other_labels_are_not_mixed(name, cli, checkpoint, photos, tmp_path):
    own = shutil.copytree(checkpoint, tmp_path / "own")
    words = ["explain", own, photos / "one.png", "--output", tmp_path / "maps"]
    assert cli(*words).code == 0
    (own / name).write_text((own / name).read_text() + "\n")
    ended = cli(*words, "--resume")
    assert (ended.code, "was made with settings=" in ended.err) == (2, True)


@pytest.mark.parametrize("text", ["nothing\n", "{}\n[1]\n", "[]\n", '{}\n{"image": 1}\n', "\n"])
def test_progress_that_is_damaged_is_told(text, cli, checkpoint, photos, tmp_path):
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "explanations.partial.jsonl").write_text(text)
    ended = cli("explain", checkpoint, photos, "--output", tmp_path / "maps", "--resume")
    assert ended.code == 2
    assert "explanations.partial.jsonl cannot be read as results of this command" in " ".join(ended.err.split())


def test_what_is_hidden_and_what_is_no_picture_is_left_out_and_said_so(cli, checkpoint, photos, tmp_path):
    (photos / ".cache").mkdir()
    shutil.copy(photos / "one.png", photos / ".cache" / "one.png")
    shutil.copy(photos / "one.png", photos / ".one.png")
    (photos / "paper.pdf").write_text("a paper")
    ended = cli("explain", checkpoint, photos, "--output", tmp_path / "maps")
    assert ended.code == 0, ended.err
    assert len(entries(tmp_path / "maps")) == 3
    assert f"{photos}: hidden, so left out: .cache/one.png, .one.png\n" in ended.err
    assert f"{photos}: no images by their names: paper.pdf\n" in ended.err


def test_a_name_that_is_no_text_is_told(cli, checkpoint, photos, tmp_path):
    shutil.copy(photos / "one.png", os.fsencode(photos) + b"/b\xe4r.png")
    ended = cli("explain", checkpoint, photos, "--output", tmp_path / "maps")
    assert ended.code == 2
    assert "b\\xe4r.png' is not UTF-8; rename it" in " ".join(ended.err.split())


def test_an_output_that_is_a_file_is_told(cli, checkpoint, photos, tmp_path):
    (tmp_path / "maps").write_text("mine")
    ended = cli("explain", checkpoint, photos, "--output", tmp_path / "maps")
    assert (ended.code, "is a file; name a folder" in ended.err) == (2, True)


def test_digits_that_are_a_number_and_a_label_of_another_class_are_told():
    labels = ["1", "0", "number:9", "five"]
    for given, meant in (("number:1", 1), ("label:1", "1"), ("number:9", "number:9"), ("3", 3), ("five", "five")):
        assert target_of(given, labels) == meant
    assert target_of("1", ["0", "1"]) == 1
    assert (target_of(None, labels), target_of("2", None)) == (None, 2)
    with pytest.raises(typer.BadParameter, match=r"class 0; give number:1 or label:1"):
        target_of("1", labels)

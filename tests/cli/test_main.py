import json
import subprocess
import sys

import pytest

import cardsynth
from cardsynth.cards.folder import read_metadata
from cardsynth.cli.main import MODULES
from cardsynth.models import load_settings


def test_from_nothing_to_judged_cards(cardsynth, tmp_path):
    drawn, run, made = tmp_path / "drawn", tmp_path / "run", tmp_path / "made"
    assert cardsynth("render", "--out", drawn, "--count", 20, "--size", "40x32", "--workers", 1)[0] == 0
    code, said = cardsynth("check", drawn)
    assert code == 0, said
    code, said = cardsynth("train", "--preset", "smoke", "--data", drawn, "--out", run, "--max-train-steps", "3")
    assert code == 0, said
    assert load_settings(run / "settings.json").max_train_steps == 3
    code, said = cardsynth("generate", "--model", run, "--seeds", "0-6,16", "--label", "SMALL", "--out", made)
    assert code == 0, said
    assert [row["seed"] for row in read_metadata(made / "metadata.jsonl")] == [0, 1, 2, 3, 4, 5, 6, 16]
    painted = tmp_path / "painted"
    code, said = cardsynth("damage", "--data", drawn, "--model", run, "--label", "LIGHT", "--out", painted)
    assert code == 0, said
    assert [row["label"] for row in read_metadata(painted / "metadata.jsonl")] == ["LIGHT"] * 4
    code, said = cardsynth("evaluate", "--real", drawn, "--generated", made, "--size", "40x32")
    assert code == 0, said
    assert "Copied? (near-copies by grey levels)" in said
    assert json.loads((tmp_path / "made_evaluation/evaluation.json").read_text())["counts"]["generated"] == 8
    code, said = cardsynth("evaluate", "--real", drawn, "--generated", made, "--out", made / "report")
    assert code == 1
    assert "choose a folder beside it" in said
    code, said = cardsynth("check", made)
    assert "error" not in said.lower().replace("no errors", "").replace("0 errors", ""), said


def test_kinds_of_damage_and_what_is_written_of_them(cardsynth, tmp_path):
    options = ("--damages", "2-3", "--others", "HICKEY", "TONING", "--severity", "0.5", "--soft-masks", "--twins")
    kinds = ("--classes", "CREASE", "PEN_MARK")
    common = ("--count", 2, "--size", "40x32", "--workers", 1)
    code, said = cardsynth("render", "--out", tmp_path / "drawn", *common, *kinds, *options)
    assert code == 0, said
    rows = read_metadata(tmp_path / "drawn/metadata.jsonl")
    assert [row["label"] for row in rows] == [row["damages"][0]["kind"] for row in rows] == ["CREASE", "PEN_MARK"]
    for row in rows:
        assert {damage["kind"] for damage in row["damages"][1:]} <= {"HICKEY", "TONING"}
        assert len(row["damages"]) in (2, 3)
        for key in ("file_name", "mask_file_name", "soft_mask_file_name", "twin_file_name"):
            assert (tmp_path / "drawn" / row[key]).is_file()


def test_captions_are_written_and_checked(cardsynth, tmp_path):
    drawn = tmp_path / "drawn"
    cardsynth("render", "--out", drawn, "--count", 10, "--size", "40x32", "--workers", 1)
    code, said = cardsynth("caption", drawn)
    assert (code, "0 captions written, 10 kept" in said) == (0, True)
    code, said = cardsynth("caption", drawn, "--trigger", "zzyx", "--overwrite")
    assert (code, "10 captions written, 0 kept" in said) == (0, True)
    assert all("zzyx" in row["text"] for row in read_metadata(drawn / "metadata.jsonl"))
    assert cardsynth("check", drawn, "--captions")[0] == 0
    assert cardsynth("caption", drawn, "--template", "one for all", "--overwrite")[0] == 0
    code, said = cardsynth("check", drawn, "--captions")
    assert (code, "has the caption of 9 more" in said) == (0, True)


def test_cards_are_exported_for_detectors(cardsynth, card_folder, tmp_path):
    options = ("--data", card_folder, "--out", tmp_path / "yolo", "--least-area", "2", "--seed", "3")
    code, said = cardsynth("export", "--format", "yolo-segment", "--shares", "0.5,0.25,0.25", *options)
    assert code == 0, said
    assert len(list((tmp_path / "yolo/labels/train").iterdir())) == 15
    assert "train     15 cards in 15 groups; damages: FULL_CARD 3, LIGHT 3" in said
    code, said = cardsynth("export", "--format", "coco", *options)
    assert code == 1
    assert "exists already" in said
    code, said = cardsynth("export", "--format", "coco", "--overwrite", "--group-by", r"(\d)\.png", *options)
    assert code == 0, said
    assert (tmp_path / "yolo/annotations/instances_train.json").is_file()


def test_settings_come_from_preset_file_and_command_line(cardsynth, card_folder, tmp_path):
    mine = tmp_path / "mine.json"
    mine.write_text('{"max_train_steps": 1, "learning_rate": 0.5, "seed": 3}')
    arguments = ("--preset=smoke", "--config", mine, "--data", card_folder, "--out", tmp_path / "run")
    code, said = cardsynth("train", *arguments, "--seed", "7")
    assert code == 0, said
    config = load_settings(tmp_path / "run/settings.json")
    assert (config.preset, config.max_train_steps, config.learning_rate, config.seed) == ("smoke", 1, 0.5, 7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("render", "--out", "x", "--size", "160"), "write height x width, like 160x128"),
        (("render", "--out", "x", "--classes", "GUM"), "FULL_CARD"),
        (("render", "--out", "x", "--damages", "1..3"), "write a number or a range, like 2 or 1-3"),
        (("render", "--out", "x", "--damages", "3-1"), "damages (3, 1)"),
        (("render", "--out", "x", "--severity", "5"), "severity 5.0 is out of range: 0.25 to 2"),
        (("render", "--out", "x", "--damages", "2", "--others", "MOLD"), "unknown kind of further damage MOLD"),
        (("train", "--data", "nowhere"), "nowhere is no folder of cards"),
        (("train", "--data", "nowhere", "--preset", "best"), "there is no preset 'best'"),
        (("train", "--data", "nowhere", "--height", "81"), "take height 80 or 96"),
        (("train", "--data", "nowhere", "--config", "missing.json"), "missing.json"),
        (("generate", "--model", "nowhere"), "nowhere"),
        (("push", "--repo-id", "me/it"), "--model RUN or --data FOLDER"),
        (("check", "nowhere"), "nowhere"),
        (("export", "--data", "nowhere", "--format", "coco", "--out", "x"), "nowhere is no folder"),
        (("export", "--data", "x", "--format", "coco", "--out", "y", "--shares", "80%"), "like 0.8,0.1,0.1"),
    ],
)
def test_bad_input_ends_with_a_message(cardsynth, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, said = cardsynth(*arguments)
    assert code == 1
    assert message in said
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())


def test_a_bad_seed_range_is_refused(cardsynth, trained_run, tmp_path):
    code, said = cardsynth("generate", "--model", trained_run, "--seeds", "1..3", "--out", tmp_path / "made")
    assert code == 1
    assert "write seeds like 0-63" in said


@pytest.mark.parametrize("command", MODULES)
def test_every_command_has_help(cardsynth, command):
    code, said = cardsynth(command, "--help")
    assert code == 0
    assert f"usage: cardsynth {command} " in said


def test_a_finished_demo_says_so_at_once(cardsynth, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "generated_cards/demo/report/index.html"
    page.parent.mkdir(parents=True)
    page.touch()
    monkeypatch.setattr("cardsynth.cli.demo.run_demo", None)
    code, said = cardsynth("demo")
    assert code == 0
    assert "index.html in a browser" in said
    assert "delete" in said


def test_a_command_line_that_cannot_be_read_ends_with_code_2(cardsynth):
    for arguments in ((), ("train-cards",), ("check",), ("check", "x", "--data", "y"), ("train", "--preset")):
        assert cardsynth(*arguments)[0] == 2


def test_help_and_version_load_no_torch_and_name_every_command():
    code = """
import os, sys
from cardsynth.__main__ import main
for arguments in (["--help"], ["--version"], ["train", "--help"], ["generate", "--help"]):
    sys.argv = ["cardsynth", *arguments]
    try:
        main()
    except SystemExit as end:
        assert not end.code
print({"torch", "diffusers", "datasets"} & set(sys.modules), os.environ["OMP_WAIT_POLICY"])
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(f"{command} " in output for command in MODULES)
    assert f"cardsynth {cardsynth.__version__}" in output
    assert output.splitlines()[-1] == "set() PASSIVE"

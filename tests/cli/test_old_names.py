import re

import pytest

from cardsynth.cli.old_names import OLD_NAMES, POSITIONAL, translate

RENAMED = [(command, old, new) for command, names in OLD_NAMES.items() for old, new in names.items()]


def has_option(text: str, option: str) -> bool:
    """Whether the help of a command lists an option."""
    return bool(re.search(rf"^\W*{option}\b(?!-)", text, re.MULTILINE)) or f"[{option} " in text


@pytest.mark.parametrize(("command", "old", "new"), RENAMED)
def test_an_old_name_is_translated_with_a_notice(cardsynth, capsys, command, old, new):
    for given, expected in (([old, "x"], [new, "x"]), ([f"{old}=x=y"], [f"{new}=x=y"])):
        assert translate([command, *given, "--unknown", "z"]) == [command, *expected, "--unknown", "z"]
        output, notice = capsys.readouterr()
        assert not output
        assert notice.count("\n") == 1
        assert f"`{command} {old}` is now `{command} {new}`" in notice
    help_text = cardsynth(command, "--help")[1]
    assert has_option(help_text, new)
    assert not has_option(help_text, old)


@pytest.mark.parametrize("command", OLD_NAMES)
def test_new_names_stay_without_a_notice(command, capsys):
    arguments = [command, *(text for new in OLD_NAMES[command].values() for text in (new, "x"))]
    if command in POSITIONAL:
        arguments = [command, "--unknown", "z"]
    assert translate(arguments) == arguments
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("command", "option"), POSITIONAL.items())
def test_a_positional_argument_may_be_named(cardsynth, capsys, command, option):
    for given in ([option, "x"], [f"{option}=x"]):
        assert translate([command, "--other", *given, "--last"]) == [command, "x", "--other", "--last"]
    assert translate([command, "x", "--other"]) == [command, "x", "--other"]
    assert capsys.readouterr() == ("", "")
    assert f"also {option}." in " ".join(cardsynth(command, "--help")[1].replace("\u2502", " ").split())


def test_prompts_of_generate_go_to_generate_text(capsys):
    for prompt in (["--prompt", "a card"], ["--prompt=a card"]):
        arguments = translate(["generate", "--model", "run", *prompt, "--steps", "3"])
        assert arguments == ["generate-text", "--model", "run", *prompt, "--num-inference-steps", "3"]
        assert "`generate --prompt` is now `generate-text --prompt`" in capsys.readouterr().err


def test_old_and_new_names_do_the_same(cardsynth, card_folder, tmp_path):
    """Of commands whose options decide what is written."""
    for name, option in (("old", "--cards"), ("new", "--data")):
        code, output = cardsynth("export", option, card_folder, "--format", "voc", "--out", tmp_path / name)
        assert code == 0, output
        assert ("is now" in output) == (name == "old")
    files = [sorted(path.relative_to(folder) for path in folder.rglob("*")) for folder in tmp_path.iterdir()]
    assert files[0] == files[1]
    plain, named = (cardsynth("check", *arguments) for arguments in ([card_folder], ["--data", card_folder]))
    assert (plain[0], plain[1].split("\r")[0]) == (named[0], named[1].split("\r")[0])  # without progress bars

"""README and guides: links lead somewhere, commands have the options they show, and the Python runs."""

import re
import shlex
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "dataset/README.md", ROOT / "sweeps/README.md"]
)
GUIDES = [page for page in PAGES if page.name != "CHANGELOG.md"]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


def test_every_guide_is_listed():
    listed = set(re.findall(r"\]\((\w+\.md)", (ROOT / "docs/README.md").read_text()))
    assert listed == {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}


def shown_options() -> dict[str, set[tuple[str, str]]]:
    """(page, option) of all options that README and guides show, by command."""
    options = defaultdict(set)
    for page in GUIDES:
        for command, rest in re.findall(r"cardsynth ([a-z][a-z-]+)([^`\n]*)", page.read_text()):
            for option in re.findall(r"(?<!\S)(--[a-z][\w-]*)", rest.split(" #")[0]):
                options[command].add((str(page.relative_to(ROOT)), option))
    return options


def test_commands_have_the_options_that_are_shown(cardsynth: Callable):
    helps = {}
    missing = []
    for command, options in shown_options().items():
        if command not in helps:
            code, helps[command] = cardsynth(command, "--help")
            assert code == 0, helps[command]
        for page, option in options:
            if option != "--help" and not re.search(rf"{option}\b(?!-)", helps[command]):
                missing.append(f"{page}: cardsynth {command} {option}")
    assert not missing, "\n".join(sorted(missing))


def test_the_python_of_the_readme_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture):
    """As it stands, but with the smallest preset."""
    code = re.search(r"```python\n(.+?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    (tmp_path / "dataset").symlink_to(ROOT / "dataset")
    monkeypatch.chdir(tmp_path)
    assert code.count('get_preset("card")') == 1
    exec(compile(code.replace('get_preset("card")', 'get_preset("smoke")'), "README.md", "exec"), {})
    assert (tmp_path / "generated_cards/mine/000063.png").is_file()
    assert len(capsys.readouterr().out.splitlines()) > 8


def test_shell_commands_can_be_typed():
    for page in GUIDES:
        for block in re.findall(r"```bash\n(.+?)```", page.read_text(), re.DOTALL):
            assert shlex.split(block, comments=True), page


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().split()) < 1050

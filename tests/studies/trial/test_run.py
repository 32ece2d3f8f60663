import json
from dataclasses import replace

import pytest
import torch

from cardsynth.__main__ import main
from cardsynth.cards.dataset import Cards, stack_cards
from cardsynth.cards.folder import CardError
from cardsynth.core.runs import RunError
from cardsynth.evaluation.evaluate import select
from cardsynth.render.draw import draw_cards, render_cards
from cardsynth.studies.trial.arms import Sources, cards_of_arm, filter_cards, make_cards
from cardsynth.studies.trial.config import ARMS, SMALL_FINDER, TrialConfig
from cardsynth.studies.trial.data import Draw, TrialData, read_trial_data
from cardsynth.studies.trial.report import write_trial_report
from cardsynth.studies.trial.run import jobs_of, run_trial, synthetic_cards

SIZE = (48, 32)
CLASSES = ("CLEAN", "FULL_CARD", "SMALL")
FINDER = replace(
    SMALL_FINDER, height=48, width=32, encoder_depth=2, decoder_channels=(8, 8), max_train_steps=4, train_batch_size=4
)
TINY = TrialConfig(counts=(2, 3), ratios=(1, 2), draws=2, generator_steps=3, finder=FINDER)


def drawn(count: int, seed: int, style: str, classes=CLASSES) -> Cards:
    return stack_cards(draw_cards(count, SIZE, seed, classes, workers=1, styles=(style,)))


@pytest.fixture(scope="module")
def data() -> TrialData:
    clean = drawn(5, 900, "c", ("CLEAN",)).pixels[:, :3]
    return TrialData(drawn(18, 0, "a"), drawn(9, 500, "c"), clean, drawn(12, 700, "b"))


@pytest.fixture(scope="module")
def trial(data, tmp_path_factory):
    """A folder in which a tiny trial of all arms was run, and its results."""
    out = tmp_path_factory.mktemp("trials") / "trial"
    config = replace(TINY, counts=(2,), ratios=(2,))
    return out, config, run_trial(config, data, out, workers=1)


@pytest.mark.slow
def test_every_arm_is_trained_on_every_draw(trial):
    _, _, results = trial
    assert {(one["arm"], one["draw"]) for one in results} == {(arm, draw) for arm in ARMS for draw in (0, 1)}
    assert {one["ratio"] for one in results if one["arm"] in ("real", "clean")} == {0}
    assert all(0 <= one["mean_iou"] <= 1 and 0 <= one["any_iou"] <= 1 and 0 <= one["map50"] <= 1 for one in results)


def test_draws_are_of_real_cards_alone_and_larger_ones_hold_smaller_ones(data):
    small, large, other = Draw(2, 0).cards(data.real), Draw(5, 0).cards(data.real), Draw(2, 1).cards(data.real)
    assert small.class_counts == dict.fromkeys(CLASSES, 2)
    assert Draw(50, 0).cards(data.real).class_counts == dict.fromkeys(CLASSES, 6)
    in_large = [any(torch.equal(card, one) for one in large.pixels) for card in small.pixels]
    assert all(in_large)
    assert not torch.equal(small.pixels, other.pixels)


@pytest.mark.slow
def test_generators_learn_from_their_draw_alone(trial, data):
    out, _, _ = trial
    for number in (0, 1):
        manifest = json.loads((out / f"generators/002_{number}/manifest.json").read_text())
        assert manifest["data"]["fingerprint"] == Draw(2, number).cards(data.real).fingerprint


@pytest.mark.slow
def test_a_stopped_trial_goes_on_and_does_nothing_twice(trial, data):
    out, config, results = trial
    kept = {path.name: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.parent != out}
    lost = out / "results/pasted_002_1_2.json"
    content = lost.read_text()
    lost.unlink()
    assert run_trial(config, data, out, workers=1) == results
    assert lost.read_text() == content
    again = {path.name: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.parent != out}
    assert {name for name in kept if kept[name] != again[name]} == {lost.name}


@pytest.mark.slow
def test_more_may_be_asked_of_a_trial_but_not_other_settings_or_cards(trial, data):
    out, config, _ = trial
    assert len(run_trial(replace(config, arms=("real",), draws=3), data, out, workers=1)) == 21
    with pytest.raises(RunError, match="other generator_steps"):
        run_trial(replace(config, generator_steps=9), data, out)
    with pytest.raises(RunError, match="other data"):
        run_trial(config, replace(data, test=data.drawn), out)
    with pytest.raises(RunError, match="other files and no trial"):
        run_trial(config, data, out.parent)


@pytest.mark.slow
def test_synthetic_cards_have_the_classes_and_sizes_of_the_real_ones(trial, data):
    out, _, _ = trial
    real = Draw(2, 0).cards(data.real)
    for kind in ("pasted", "painted", "generated", "filtered", "drawn"):
        made = synthetic_cards(out, Draw(2, 0), kind, real)
        assert made.pixels.shape == (24 if kind == "generated" else 12, 4, *SIZE)
        assert made.label_names == CLASSES
        assert set(made.pixels[:, 3].unique().tolist()) <= {0, 255}
    with pytest.raises(FileNotFoundError, match="no pasted cards"):
        synthetic_cards(out, Draw(3, 0), "pasted", real)


@pytest.mark.slow
def test_painted_cards_are_clean_ones_outside_their_masks(trial, data):
    out, _, _ = trial
    for card in synthetic_cards(out, Draw(2, 0), "painted", Draw(2, 0).cards(data.real)).pixels:
        outside = card[3] < 128
        assert any(torch.equal(card[:3, outside], ground[:, outside]) for ground in data.clean)
        assert not outside.all()


def test_arms_learn_from_what_they_say(data):
    real = Draw(2, 0).cards(data.real)
    sources = Sources(real, data.clean, data.drawn)
    pasted, others = (make_cards(kind, sources, 6, 0, None) for kind in ("pasted", "drawn"))
    assert cards_of_arm(ARMS["real"], sources, {}, 0) == (real, None)
    alone, none = cards_of_arm(ARMS["drawn_only"], sources, {"drawn": others}, 4)
    assert (len(alone), none) == (4, None)
    cards, synthetic = cards_of_arm(ARMS["all"], sources, {"pasted": pasted, "drawn": others}, 6)
    assert len(cards) == len(real) + len(data.clean)
    assert cards.class_counts["CLEAN"] == 2 + len(data.clean)
    assert not cards.pixels[len(real) :, 3].any()
    assert torch.equal(synthetic.pixels[:3], pasted.pixels[:3])
    assert torch.equal(synthetic.pixels[3:], others.pixels[:3])


@pytest.mark.slow
def test_all_classes_are_among_the_first_cards_of_folders_sorted_by_class(data):
    by_class = torch.argsort(data.drawn.labels, stable=True)
    sources = Sources(data.real, data.clean, select(data.drawn, by_class))
    made = make_cards("drawn", sources, 6, 0, None)
    assert made.class_counts == dict.fromkeys(CLASSES, 2)
    kept = filter_cards(select(data.drawn, by_class), data.real, 6, 0)
    for cards in (made, kept):
        alone, _ = cards_of_arm(ARMS["drawn_only"], sources, {"drawn": cards}, 3)
        assert alone.class_counts == dict.fromkeys(CLASSES, 1)


def test_arms_without_their_cards_are_left_out(data):
    bare = replace(data, clean=None, drawn=None)
    left = {job.arm for job in jobs_of(TINY, bare)}
    assert set(ARMS) - left == {"clean", "drawn", "drawn_only"}


@pytest.mark.slow
def test_copies_and_doubtful_cards_are_filtered_out(data):
    """Wrong labels and copies of real cards go before sound cards do."""
    real, sound = drawn(60, 0, "a"), drawn(12, 4000, "a")
    wrong = replace(sound, labels=(sound.labels + 1) % 3)
    both = [sound, wrong, Cards(real.pixels[:12], real.labels[:12], CLASSES)]
    mixed = Cards(torch.cat([one.pixels for one in both]), torch.cat([one.labels for one in both]), CLASSES)
    kept = filter_cards(mixed, real, 12, 0)
    assert kept.class_counts == dict.fromkeys(CLASSES, 4)
    from_sound = sum(any(torch.equal(card, one) for one in sound.pixels) for card in kept.pixels)
    copied = sum(any(torch.equal(card, one) for one in real.pixels) for card in kept.pixels)
    assert copied == 0
    assert from_sound == 12
    right = sum(
        any(torch.equal(card, one) and label == own for one, own in zip(sound.pixels, sound.labels, strict=True))
        for card, label in zip(kept.pixels, kept.labels, strict=True)
    )
    assert right >= 10


def test_real_cards_are_parted_by_groups(tmp_path):
    folder = render_cards(tmp_path / "cards", 24, SIZE, classes=CLASSES, workers=1)
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    for row in rows:
        row["group"] = f"tile {row['seed'] // 6}"
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_trial_data(FINDER, folder)
    group_of = {row["file_name"]: row["group"] for row in rows}
    learned, tested = ({group_of[name] for name in cards.names} for cards in (found.real, found.test))
    assert len(learned) == len(tested) == 2
    assert not learned & tested
    assert torch.equal(found.clean, found.real.pixels[found.real.labels == 0, :3])


def test_cards_without_damage_are_refused(data, tmp_path):
    pixels = data.test.pixels.clone()
    pixels[:, 3] = 0
    with pytest.raises(CardError, match="the test cards have no damage"):
        run_trial(TINY, replace(data, test=replace(data.test, pixels=pixels)), tmp_path / "trial")
    assert not (tmp_path / "trial").exists()
    with pytest.raises(ValueError, match="no arm painting"):
        replace(TINY, arms=("painting",))
    with pytest.raises(ValueError, match="must be 1 or more"):
        replace(TINY, counts=(0,))


@pytest.mark.slow
def test_the_command_writes_what_the_trial_shows(trial, tmp_path, monkeypatch, capsys):
    out, _, results = trial
    report = write_trial_report(out, results)
    rows = [line for line in report.path.read_text().splitlines() if line.startswith("| 2 | ")]
    assert len(rows) == 2 * len(ARMS)
    assert (out / "trial.png").stat().st_size > 5000
    folder = render_cards(tmp_path / "cards", 24, SIZE, classes=CLASSES, workers=1)
    arguments = ["--real", folder, "--out", tmp_path / "trial", "--arms", "pasted", "--counts", 2, "--ratios", 1]
    arguments += ["--draws", 2, "--workers", 1, "--finder.height", 48, "--finder.width", 32]
    arguments += ["--finder.max-train-steps", 2]
    monkeypatch.setattr("sys.argv", ["cardsynth", "trial", *map(str, arguments)])
    main()
    said = capsys.readouterr().out
    assert "real damage pasted on clean cards" in said
    assert "With 2 real cards a class" in said
    assert len(list((tmp_path / "trial/results").iterdir())) == 4

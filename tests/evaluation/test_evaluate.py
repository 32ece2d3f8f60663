"""The evaluation as a whole: what it finds in planted faults, what it writes, and what it refuses."""

import json
from dataclasses import asdict, replace

import pytest
import torch

from cardsynth.cards.dataset import Cards, stack_cards
from cardsynth.cards.folder import CardError
from cardsynth.cards.labels import CLASSES
from cardsynth.evaluation.evaluate import evaluate, relabel, select
from cardsynth.evaluation.judge import ask, train_judge
from cardsynth.evaluation.summary import in_short
from cardsynth.plots.report import check_place, write_report
from cardsynth.render.draw import draw_cards, render_cards
from cardsynth.util.intervals import share_figure

pytestmark = pytest.mark.slow


def draw(count, seed):
    return stack_cards(draw_cards(count, (40, 32), seed=seed, workers=1))


@pytest.fixture(scope="module")
def drawn():
    return draw(300, 0)


@pytest.fixture(scope="module")
def fresh():
    return draw(60, 5000)


@pytest.fixture(scope="module")
def unseen():
    return draw(100, 8000)


@pytest.fixture(scope="module")
def evaluation(drawn, fresh, unseen):
    return evaluate(drawn, fresh, unseen)


def test_a_judge_knows_cards_that_it_has_not_seen_and_doubts_wrong_labels(drawn, fresh):
    judge = train_judge(drawn)
    right = (ask(judge, fresh).labels == fresh.labels).float().mean()
    assert right > 0.8
    wrong = Cards(fresh.pixels, (fresh.labels + 1) % 5, fresh.label_names)
    assert (ask(judge, wrong).labels == wrong.labels).float().mean() < 0.2


def test_real_cards_pass_for_real(evaluation):
    """Cards of the same kind, which nothing was trained on, differ from real ones in no figure."""
    assert evaluation.counts == {"real": 300, "generated": 60, "held_out": 100}
    assert [beside.generated.classifier.split(" (")[0] for beside in evaluation.classes] == ["convolutional net", "SVC"]
    assert evaluation.classes[0].generated.accuracy.value > 0.8
    assert set(evaluation.masks.iou) == set(CLASSES) - {"CLEAN"}
    assert not any(copies.alarming for copies in evaluation.copies)
    shown = [line.texts()[3] for line in in_short(asdict(evaluation))]
    assert shown.count("no difference shown") >= 9
    kid = evaluation.distance("KID")
    assert kid.net.endswith("136-d, 60 vs 100, 40x32]")
    assert kid.generated.low < kid.floor.value < kid.generated.high
    frechet = evaluation.distance("FD")
    assert frechet.generated is None
    assert "requires 272 cards on each side, and there are 60 and 100" in frechet.refused


def test_planted_faults_show(drawn, fresh, unseen):
    pixels = torch.cat([fresh.pixels[:30], drawn.pixels[:30]])
    pixels[:, 3] = pixels[:, 3].flip(0)
    labels = torch.cat([(fresh.labels[:30] + 1) % 5, drawn.labels[:30]])
    found = evaluate(drawn, Cards(pixels, labels, drawn.label_names), unseen)
    assert found.classes[0].generated.accuracy.high < found.classes[0].held_out.accuracy.low
    assert found.masks.mean_iou.high < found.held_out_masks.mean_iou.low
    assert found.copies[0].share.value == pytest.approx(0.5, abs=0.05)
    assert found.copies[0].alarming
    assert found.copies[0].nearest[30:] == list(range(30))
    shown = {line.question: line.texts()[3] for line in in_short(asdict(found))}
    assert shown["Copied? (near-copies by grey levels)"] == "worse"


def test_without_held_out_cards_the_real_ones_are_split(drawn, fresh, tmp_path):
    few = select(fresh, torch.nonzero(fresh.labels != 3).flatten())
    found = evaluate(drawn, few)
    assert found.missing == ("SMALL",)
    assert "No generated card is of these classes: SMALL." in write_report(tmp_path, drawn, few, found, "").read_text()
    assert found.counts["held_out"] == 60
    assert "a fifth of the real cards (60)" in found.how
    assert found.distance("KID").net.endswith("48 vs 150, 40x32]")
    assert found.copies[0].share.value <= share_figure(3, 48).high


def test_cards_without_classes_or_masks_are_judged_by_distance_alone(drawn, fresh):
    def plain(cards):
        return Cards(cards.pixels[:, :3], torch.zeros(len(cards), dtype=torch.long))

    found = evaluate(plain(drawn), plain(fresh))
    assert found.classes == ()
    assert found.masks is None
    assert found.distance("KID").generated is not None
    assert len(in_short(asdict(found))) == 8


def test_figures_and_page(drawn, fresh, evaluation, tmp_path):
    page = write_report(tmp_path / "run", drawn, fresh, evaluation, title="<fresh> cards")
    saved = json.loads((tmp_path / "run/evaluation.json").read_text())
    assert saved["counts"]["generated"] == 60
    assert saved["classes"][0]["generated"]["accuracy"]["low"] < saved["classes"][0]["generated"]["accuracy"]["value"]
    assert saved["distances"][1]["floor"]["value"] == pytest.approx(evaluation.distance("KID").floor.value, rel=1e-5)
    assert saved["machine"]
    text = page.read_text()
    assert "&lt;fresh&gt; cards" in text
    assert text.count("data:image/png;base64,") == 6
    assert "://" not in text
    assert "alarm" not in text.split("</style>")[1]
    for question in ("Of its class?", "Masks true?", "Copied?", "as varied?"):
        assert question in text


def test_copies_are_warned_of_loudly(drawn, evaluation, fresh, tmp_path):
    copied = tuple(replace(copies, share=share_figure(50, 60)) for copies in evaluation.copies)
    page = write_report(tmp_path, drawn, fresh, replace(evaluation, copies=copied), "cards")
    assert 'class="alarm"' in page.read_text()


def test_the_page_tells_which_model_drew_the_cards(drawn, fresh, evaluation, tmp_path):
    folder = render_cards(tmp_path / "made", 4, (40, 32), workers=1)
    rows = [json.loads(line) | {"model": "me/mine", "revision": "abc"} for line in (folder / "metadata.jsonl").open()]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_report(tmp_path / "out", drawn, replace(fresh, source=str(folder)), evaluation, "cards")
    saved = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert (saved["model"], saved["revision"]) == ("me/mine", "abc")


def test_an_evaluation_does_not_go_into_a_card_folder(tmp_path):
    folder = render_cards(tmp_path / "cards", 4, (40, 32), workers=1)
    for inside in (folder, folder / "report"):
        with pytest.raises(CardError, match=r"would take evaluation\.json for a split; choose a folder beside it"):
            check_place(inside)
    assert check_place(tmp_path / "cards_evaluation") == tmp_path / "cards_evaluation"


def test_what_cannot_be_judged_is_named(drawn, fresh):
    other = Cards(drawn.pixels, drawn.labels, ("A", "B", "C", "D", "E"), source="mine")
    with pytest.raises(CardError, match="mine has the classes A, B, C, D, E"):
        evaluate(drawn, other)
    with pytest.raises(CardError, match="5 cards are too few for an evaluation, which requires 8"):
        evaluate(drawn, select(fresh, torch.arange(5)))
    with pytest.raises(CardError, match=r"measures \(20, 32\), not \(40, 32\)"):
        evaluate(drawn, replace(fresh, pixels=fresh.pixels[:, :, :20]))


def test_labels_keep_their_names_in_another_order(drawn):
    few = select(drawn, torch.nonzero(drawn.labels >= 3).flatten())
    few = Cards(few.pixels, few.labels - 3, few.label_names[3:])
    again = relabel(few, drawn.label_names)
    assert again.class_counts == {"CLEAN": 0, "FULL_CARD": 0, "LIGHT": 0, "SMALL": 60, "WHITE_MARKS": 60}

"""Cards found on pages, straightened with what is drawn on them, and written as a card folder."""

import json
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scan_pages import GROUNDS, compose_page, empty_page

from cardsynth.__main__ import main
from cardsynth.cards.check import check_folder
from cardsynth.cards.folder import CardError, read_metadata
from cardsynth.render.draw import draw_card
from cardsynth.scans.find import angle_of, aspect_of, find_cards_on_page, in_reading_order, turned_over
from cardsynth.scans.outlines import cv2
from cardsynth.scans.pages import ScanSettings, scan_pages
from cardsynth.scans.straighten import boxes_on_card, rectify, rectify_mask, to_card
from cardsynth.scans.upright import SURE, reading_direction

SMALL = ScanSettings(size=(350, 250))


def plain_page(*places: tuple[float, float, float], size=(700, 900), seed=3) -> tuple[np.ndarray, list[np.ndarray]]:
    """A dark page with cards 200 pixels wide, at x, y, turned by degrees, and their corners."""
    rng = np.random.default_rng(seed)
    page = np.full((*size, 3), 40, np.float32) + rng.normal(0, 2, (*size, 1))
    truth = []
    for index, (x, y, degrees) in enumerate(places):
        card = draw_card(seed + index, "CLEAN", (700, 500), ("a",)).image[14:-14, 14:-14]
        half = np.array([[-100, -140], [100, -140], [100, 140], [-100, 140]], np.float64)
        turn = np.radians(degrees)
        corners = half @ [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]] + [x, y]
        ends = np.float32([[0, 0], [472, 0], [472, 672], [0, 672]]) - 0.5
        matrix = cv2.getPerspectiveTransform(ends, corners.astype(np.float32))
        soft = cv2.GaussianBlur(card, (0, 0), 0.9).astype(np.float32)
        alpha = cv2.warpPerspective(np.ones((672, 472), np.float32), matrix, size[::-1])[..., None]
        page += alpha * (cv2.warpPerspective(soft, matrix, size[::-1]) - page)
        truth.append(corners)
    return np.clip(page, 0, 255).astype(np.uint8), truth


def nearest(corners: np.ndarray, cards) -> float:
    """Distance of the corners to those of the nearest card, over the card's width; its way up aside."""
    off = [np.linalg.norm(np.roll(card.corners, k, axis=0) - corners, axis=1).max() for card in cards for k in (0, 2)]
    return min(off, default=np.inf) / np.linalg.norm(corners[1] - corners[0])


@pytest.mark.slow
@pytest.mark.parametrize("ground", GROUNDS)
def test_cards_are_found_on_every_ground(ground):
    for count in (1, 4):
        page = compose_page(500 + count, (1400, 1000), count, ground)
        cards = find_cards_on_page(page.image)
        assert len(cards) == count
        for corners in page.corners:
            assert nearest(corners, cards) < 0.025
        assert all(card.confidence > 0.6 for card in cards)


@pytest.mark.parametrize("seed", range(40))
def test_pages_without_cards_have_none(seed):
    assert [card for card in find_cards_on_page(empty_page(seed, (700, 500)).image) if card.confidence >= 0.6] == []


@pytest.mark.parametrize("degrees", [-30, -12, 0, 7, 30, 75, 90, 110])
def test_corners_and_angle_are_exact(degrees):
    page, (corners,) = plain_page((450, 350, degrees))
    (card,) = find_cards_on_page(page)
    assert np.abs(card.corners - corners).max() < 1.0
    assert card.angle == pytest.approx(degrees, abs=0.2)
    assert card.confidence > 0.9


def test_a_page_of_another_aspect_is_told_by_it():
    page, _ = plain_page((450, 350, 10))
    assert find_cards_on_page(page, aspect=1.75) == []
    turned_down = find_cards_on_page(page, aspect=1.65, min_confidence=0)
    assert "1.40, not 1.65" in turned_down[0].reason


def test_strange_pages_are_refused():
    with pytest.raises(ValueError, match="uint8"):
        find_cards_on_page(np.zeros((100, 100), np.uint8))
    with pytest.raises(ValueError, match="aspect"):
        find_cards_on_page(np.zeros((100, 100, 3), np.uint8), aspect=0.7)


def test_aspect_is_that_of_the_card_when_the_camera_is_tilted():
    focal, (height, width) = 1200 / 1.35, (1200, 900)
    tilt = np.radians(25)
    flat = np.array([[-250, -350, 0], [250, -350, 0], [250, 350, 0], [-250, 350, 0]]) @ [
        [1, 0, 0],
        [0, np.cos(tilt), np.sin(tilt)],
        [0, -np.sin(tilt), np.cos(tilt)],
    ] + [30, -20, 1500]
    seen = focal * flat[:, :2] / flat[:, 2:] + [width / 2, height / 2]
    assert aspect_of(seen, (height, width)) == pytest.approx(1.4, abs=0.01)
    lengths = np.linalg.norm(np.roll(seen, -1, axis=0) - seen, axis=1)
    assert (lengths[1] + lengths[3]) / (lengths[0] + lengths[2]) < 1.33


def test_cards_come_in_reading_order():
    places = [(150, 180, 5), (420, 160, -8), (700, 190, 3), (160, 520, 12), (440, 530, 0), (730, 510, -15)]
    page, truth = plain_page(*places)
    cards = find_cards_on_page(page)
    assert len(cards) == 6
    for card, corners in zip(cards, truth, strict=True):
        assert nearest(corners, [card]) < 0.02
    assert [card.corners.tolist() for card in in_reading_order(cards[::-1])] == [c.corners.tolist() for c in cards]


def test_masks_and_boxes_travel_with_the_card():
    card = np.zeros((700, 500), np.uint8)
    card[200:360, 120:330] = 255
    turn = np.radians(23)
    corners = np.array([[-260, -360], [260, -350], [255, 365], [-250, 360]]) @ [
        [np.cos(turn), np.sin(turn)],
        [-np.sin(turn), np.cos(turn)],
    ] + [620, 560]
    to_page = np.linalg.inv(to_card(corners, (700, 500)))
    mask = cv2.warpPerspective(card, to_page, (1250, 1150))
    back = rectify_mask(mask, corners, (700, 500))
    rows, columns = np.nonzero(back)
    assert set(np.unique(back)) == {0, 255}
    assert np.abs(np.array([rows.min(), rows.max(), columns.min(), columns.max()]) - [200, 359, 120, 329]).max() <= 1
    level = np.array([[100, 50], [600, 50], [600, 750], [100, 750]]) - 0.5
    assert boxes_on_card([[150, 90, 40, 30], [0, 0, 60, 60], [590, 740, 100, 100]], level, (700, 500)) == [
        (0, [50.0, 40.0, 40.0, 30.0])
    ]
    assert boxes_on_card([[150, 90, 40, 30]], np.roll(level, -2, axis=0), (700, 500)) == [
        (0, [410.0, 630.0, 40.0, 30.0])
    ]


def test_a_card_is_cut_out_as_it_was():
    page, _ = plain_page((450, 350, 20))
    (card,) = find_cards_on_page(page)
    drawn = draw_card(3, "CLEAN", (700, 500), ("a",)).image[14:-14, 14:-14]
    small = cv2.resize(cv2.GaussianBlur(drawn, (0, 0), 1.2), (200, 280), interpolation=cv2.INTER_AREA)
    off = np.abs(rectify(page, card.corners, (280, 200)).astype(int) - small)[5:-5, 5:-5]
    assert off.mean() < 8
    other = turned_over(card)
    assert np.array_equal(other.corners[0], card.corners[2])
    assert angle_of(other.corners) == pytest.approx(other.angle)


def test_upside_down_cards_are_told_or_left():
    told = 0
    for seed in range(20):
        drawn = draw_card(seed, "CLEAN", (700, 500))
        card, turned = drawn.image, drawn.row["turned"]
        # The quarter turn that brings landscape to portrait is one to the left, 90 degrees.
        ways = ((card, turned == 270), (np.ascontiguousarray(card[::-1, ::-1]), turned != 270))
        for picture, upside_down in ways:
            direction = reading_direction(picture)
            if direction.confidence >= SURE:
                told += 1
                assert direction.sideways == (turned != 0)
                assert direction.upside_down == upside_down
    assert told >= 24
    assert reading_direction(np.full((700, 500, 3), 200, np.uint8)).confidence == 0.5


@pytest.fixture
def pages(tmp_path):
    """A folder of three pages in two classes, one with a mask, a sideways EXIF tag on another; and a broken page."""
    folder = tmp_path / "pages"
    for name, places in {
        "images/SMALL/a.png": [(220, 350, 4), (620, 340, 184)],
        "images/SMALL/b.jpg": [(450, 350, 0)],
        "images/LIGHT/c.tiff": [],
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(plain_page(*places)[0])
        exif = Image.Exif()
        if path.suffix == ".jpg":
            image, exif[0x0112] = image.transpose(Image.Transpose.ROTATE_90), 6
        image.save(path, **({"exif": exif, "quality": 95} if exif else {}))
        mask = Image.new("L", (900, 700))
        ImageDraw.Draw(mask).rectangle((200, 300, 239, 339), fill=255)
        (folder / "masks" / name.removeprefix("images/")).parent.mkdir(parents=True, exist_ok=True)
        mask.save((folder / "masks" / name.removeprefix("images/")).with_suffix(".png"))
    (folder / "images/SMALL/broken.jpg").write_bytes(b"no picture")
    return folder


def test_pages_become_a_card_folder(pages, tmp_path):
    summary = scan_pages(pages, tmp_path / "cards", settings=SMALL, workers=1)
    assert (summary.pages, summary.cards, summary.review, summary.empty) == (4, 3, 0, 1)
    assert len(summary.broken) == 1
    assert "broken.jpg" in summary.broken[0]
    rows = {row["file_name"]: row for row in read_metadata(tmp_path / "cards/metadata.jsonl")}
    assert list(rows) == ["SMALL/a_1.png", "SMALL/a_2.png", "SMALL/b_1.png"]
    assert {row["label"] for row in rows.values()} == {"SMALL"}
    first = rows["SMALL/a_1.png"]
    assert first["page"] == "images/SMALL/a.png"
    assert np.array(first["corners"]).shape == (4, 2)
    assert abs(first["angle"] - 4) < 0.3
    assert {path.name for path in (tmp_path / "cards/report").glob("*.png")} == {"sheet_001.png"}
    mask = np.asarray(Image.open(tmp_path / "cards" / first["mask_file_name"]))
    assert mask.shape == (350, 250)
    assert (mask > 0).mean() == pytest.approx(1600 / (200 * 280), rel=0.05)
    report = check_folder(tmp_path / "cards")
    assert report.ok, report.text()
    assert not (tmp_path / "cards_review").exists()


def test_a_stopped_run_goes_on(pages, tmp_path):
    out = tmp_path / "cards"
    scan_pages(pages, out, settings=SMALL, workers=1)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*_?.png") if "report" not in path.parts}
    journal = out / "report/pages.jsonl"
    # As if stopped while b's cards were written: begun, its picture there, its row not.
    rows = [line for line in journal.read_text().splitlines() if '"done"' not in line or "b.jpg" not in line]
    journal.write_text("\n".join(rows) + "\n")
    lines = (out / "metadata.jsonl").read_text().splitlines()
    (out / "metadata.jsonl").write_text("\n".join(line for line in lines if "b_1" not in line) + "\n")
    (pages / "images/SMALL/broken.jpg").unlink()
    summary = scan_pages(pages, out, settings=SMALL, workers=1)
    assert (summary.done, summary.cards, summary.broken) == (2, 3, [])
    after = {path: path.stat().st_mtime_ns for path in out.rglob("*_?.png") if "report" not in path.parts}
    assert {path.stem for path in after if after[path] != before[path]} == {"b_1"}
    assert check_folder(out).ok


def test_nothing_is_overwritten_unasked(pages, tmp_path):
    out = tmp_path / "cards"
    (out / "SMALL").mkdir(parents=True)
    (out / "SMALL/a_2.png").write_bytes(b"mine")
    with pytest.raises(CardError, match=r"a_2.png exists already"):
        scan_pages(pages, out, settings=SMALL, workers=1)
    assert (out / "SMALL/a_2.png").read_bytes() == b"mine"
    scan_pages(pages, out, settings=SMALL, workers=1, overwrite=True)
    with pytest.raises(CardError, match="overwrite"):
        scan_pages(pages, out, settings=ScanSettings(size=(70, 50)), workers=1)
    scan_pages(pages, out, settings=ScanSettings(size=(70, 50)), workers=1, overwrite=True)
    assert set(check_folder(out).sizes) == {(70, 50)}
    with pytest.raises(CardError, match="lie in each other"):
        scan_pages(pages, pages / "cards")


def test_unsure_cards_go_to_review(pages, tmp_path):
    strict = ScanSettings(size=(70, 50), aspect=1.49)
    summary = scan_pages(pages, tmp_path / "cards", settings=strict, workers=1)
    assert (summary.cards, summary.review) == (0, 3)
    rows = read_metadata(tmp_path / "cards_review/metadata.jsonl")
    assert len(rows) == 3
    assert all("not 1.49" in row["reason"] for row in rows)
    assert not (tmp_path / "cards/metadata.jsonl").exists()


def test_workers_make_the_same_folder(pages, tmp_path):
    for workers in (1, 2):
        scan_pages(pages, tmp_path / str(workers), settings=SMALL, workers=workers)
    one, two = ({p.relative_to(tmp_path / n): p.read_bytes() for p in (tmp_path / n).rglob("*.*")} for n in "12")
    assert one == two


def test_command(pages, tmp_path, monkeypatch, capsys):
    command = ["cardsynth", "scans", str(pages), "--out", str(tmp_path / "cards"), "--size", "70x50", "--workers", "1"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    said = capsys.readouterr().out
    assert "4 pages (0 done before): 3 cards, 0 to review, 1 pages without cards" in said
    assert "broken.jpg" in said
    assert json.loads((tmp_path / "cards/metadata.jsonl").read_text().splitlines()[0])["label"] == "SMALL"

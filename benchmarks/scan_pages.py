"""Pages composed from drawn cards with known corners, and pages without any card, to try the finder of cards on."""

import io
import math
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cardsynth.cards.labels import CLASSES
from cardsynth.render.draw import draw_card
from cardsynth.render.printing import print_card
from cardsynth.render.styles import STYLES

GROUNDS = ("white", "black", "wood", "felt")
WORDS = [
    "The",
    "of",
    "series",
    "print",
    "card",
    "club",
    "season",
    "and",
    "year",
    "is",
    "at",
    "in",
    "first",
    "home",
    "run",
    "players",
    "Total",
    "1957",
    "shown",
    "on",
    "back",
    "gum",
]


@dataclass(frozen=True)
class Page:
    """A composed page: uint8 (H, W, 3), the true corners of each card, (4, 2) from its top left, and its ground."""

    image: np.ndarray
    corners: list[np.ndarray]
    ground: str


def noise(rng: np.random.Generator, size: tuple[int, int], cells: tuple[int, int]) -> np.ndarray:
    """Smooth normal noise of (height, width) with so many cells down and across, float32."""
    coarse = rng.standard_normal((max(2, cells[0]), max(2, cells[1])), np.float32)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)


def draw_ground(rng: np.random.Generator, kind: str, size: tuple[int, int]) -> np.ndarray:
    """A ground without anything on it, float32 (H, W, 3): scanner lid, black, wood or grey felt."""
    height, width = size
    if kind == "wood":
        base = np.array([(150, 105, 66), (112, 74, 46), (186, 146, 100), (92, 62, 44)][rng.integers(4)], np.float32)
        across = rng.random() < 0.5
        stretched = (height // 9, 5) if across else (5, width // 9)
        streaks = 9 * noise(rng, size, stretched) + 7 * noise(rng, size, [max(3, side // 3) for side in stretched])
        rings = 8 * np.sin(noise(rng, size, (6, 2) if across else (2, 6)) * 7)
        light = 1 + (streaks + rings)[..., None] / 120
        board = (height if across else width) / rng.integers(2, 6)
        place = np.arange(height)[:, None] if across else np.arange(width)[None, :]
        seam = np.exp(-(((place + rng.uniform(0, board)) % board) ** 2) / 8.0)[..., None]
        return base * light * (1 - 0.5 * seam)
    level, spread = {
        "white": (rng.uniform(236, 252), 0.6),
        "black": (rng.uniform(10, 38), 1),
        "felt": (rng.uniform(85, 145), 9),
    }[kind]
    tint = level + rng.uniform(-3, 3, 3)
    texture = (
        spread * noise(rng, size, (height // 2, width // 2))
        + spread * noise(rng, size, (height // 30, width // 30)) / 2
    )
    return np.float32(tint) + texture[..., None]


def photograph(rng: np.random.Generator, page: np.ndarray) -> np.ndarray:
    """The page as a scanner or a phone has it: uneven light, slight blur, noise and JPEG; uint8 (H, W, 3)."""
    size = page.shape[:2]
    light = 1 + rng.uniform(0, 0.05) * noise(rng, size, (3, 3))[..., None]
    page = cv2.GaussianBlur(page * light, (0, 0), rng.uniform(0.5, 1.3))
    grain = rng.standard_normal((size[0] // 2 + 1, size[1], 3), np.float32) * rng.uniform(1, 5)
    page[: len(grain)] += grain[: size[0]]
    page[len(grain) :] += grain[: size[0] - len(grain), ::-1]
    buffer = io.BytesIO()
    Image.fromarray(np.clip(page + 0.5, 0, 255).astype(np.uint8)).save(
        buffer, "JPEG", quality=int(rng.integers(78, 96))
    )
    return np.asarray(Image.open(buffer).convert("RGB"))


def cast_shadow(page: np.ndarray, alpha: np.ndarray, rng: np.random.Generator) -> None:
    """Darken the ground beside what lies on it, softly, to one side."""
    scale = max(page.shape[:2]) / 3508
    reach = rng.uniform(3, 22) * scale
    turn = rng.uniform(0, 2 * math.pi)
    shift = np.float32([[1, 0, reach * math.cos(turn)], [0, 1, reach * math.sin(turn)]])
    shadow = cv2.GaussianBlur(cv2.warpAffine(alpha, shift, page.shape[1::-1]), (0, 0), max(0.8, reach * 0.6))
    page *= 1 - rng.uniform(0.15, 0.5) * shadow[..., None]


def seen_from(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """The homography K [r1 r2 t] of a page seen whole by a phone held up to 18 degrees off level."""
    height, width = size
    middle = np.array([width / 2, height / 2])
    focal = rng.uniform(0.65, 0.95) * max(size)
    towards, tilt = rng.uniform(0, 2 * math.pi), math.radians(rng.uniform(4, 18))
    turn = cv2.Rodrigues(tilt * np.array([math.cos(towards), math.sin(towards), 0]))[0]
    page = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * middle
    for distance in focal * np.arange(1, 3, 0.02):
        camera = np.diag([focal, focal, 1]) @ np.column_stack([turn[:, :2], [0, 0, distance]])
        seen = cv2.perspectiveTransform(page[None], camera)[0]
        if (np.abs(seen) <= middle).all():
            break
    shift = np.array([[1, 0, middle[0]], [0, 1, middle[1]], [0, 0, 1]])
    return shift @ camera @ np.array([[1, 0, -middle[0]], [0, 1, -middle[1]], [0, 0, 1]])


def compose_page(
    seed: int, size: tuple[int, int], count: int, ground: str, turn: float = 30, landscape: float = 0.15
) -> Page:
    """A page with `count` (1, 4 or 9) cards, each turned by up to `turn` degrees, every fourth page as a phone sees it.

    The corners are those of the card's own coverage, carried through the very transform that draws it.
    """
    rng = np.random.default_rng([seed, 77])
    page = draw_ground(rng, ground, size)
    rows = math.isqrt(count)
    cell = np.array([size[1], size[0]]) / rows
    view = seen_from(rng, size) if rng.random() < 0.25 else np.eye(3)
    pieces, truth = [], []
    common, loose = rng.uniform(-turn, turn), rng.random() < 0.5
    fill = rng.uniform(0.62, 0.95) if count > 1 else rng.uniform(0.35, 0.9)
    turns = rng.uniform(-turn, turn, count) if loose else np.clip(common + rng.normal(0, 0.4, count), -turn, turn)
    turns = np.radians(turns + 90 * (rng.random(count) < landscape))
    extents = [np.abs([[math.cos(t), math.sin(t)], [math.sin(t), math.cos(t)]]) @ [500, 700] for t in turns]
    zoom = fill * min((cell / extent).min() for extent in extents)
    for index, (turned, extent) in enumerate(zip(turns, extents, strict=True)):
        picture, area, upside_down = drawn_card(seed * 16 + index, (700, 500))
        box = np.roll(covered_box(area), 2 * upside_down, axis=0)
        sine, cosine = math.sin(turned), math.cos(turned)
        at = cell * [index % rows + 0.5, index // rows + 0.5] + rng.uniform(-0.45, 0.45, 2) * (cell - zoom * extent)
        move = np.array([[cosine, -sine, at[0]], [sine, cosine, at[1]], [0, 0, 1]])
        centre = box.mean(axis=0)
        place = np.array([[zoom, 0, -zoom * centre[0]], [0, zoom, -zoom * centre[1]], [0, 0, 1]])
        matrix = view @ move @ place
        pieces.append(lay(picture, area, matrix, size))
        truth.append(cv2.perspectiveTransform(box[None], matrix)[0])
    cast_shadow(page, np.maximum.reduce([alpha for _, alpha in pieces]), rng)
    for colour, alpha in pieces:
        page += alpha[..., None] * (colour - page)
    return Page(photograph(rng, page), truth, ground)


def covered_box(area: np.ndarray) -> np.ndarray:
    """Corners, (4, 2), of the rectangle that a card's coverage (H, W) fills but for its round corners."""
    down, across = np.median(area, axis=1), np.median(area, axis=0)
    (top, foot), (left, right) = (
        (half - line[:half].sum() - 0.5, half + line[half:].sum() - 0.5)
        for line, half in ((down, len(down) // 2), (across, len(across) // 2))
    )
    return np.array([[left, top], [right, top], [right, foot], [left, foot]])


def drawn_card(seed: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, bool]:
    """A drawn card, float32 (H, W, 3), its coverage, float32 (H, W), and whether it lies on its head.

    A card printed sideways is upright when a quarter turn to the left brought it to portrait.
    """
    card = draw_card(seed, CLASSES[seed % len(CLASSES)], size)
    area = print_card(seed, size, tuple(STYLES))[1]
    return card.image.astype(np.float32), area, card.row["turned"] == 270


def lay(
    picture: np.ndarray, area: np.ndarray, matrix: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Picture and coverage warped onto a page of (height, width), anti-aliased by drawing smaller ones from a blur."""
    zoom = math.sqrt(abs(np.linalg.det(matrix[:2, :2])))
    if zoom < 0.8:
        sigma = 0.45 * math.sqrt(1 / zoom**2 - 1)
        picture, area = (cv2.GaussianBlur(values, (0, 0), sigma) for values in (picture, area))
    colour = cv2.warpPerspective(picture, matrix, size[::-1], borderMode=cv2.BORDER_REPLICATE)
    return colour, cv2.warpPerspective(area, matrix, size[::-1])


def empty_page(seed: int, size: tuple[int, int]) -> Page:
    """A page without a card: a ground alone, text, or things that are no card; the kind goes round with the seed."""
    rng = np.random.default_rng([seed, 78])
    ground = GROUNDS[seed % 4]
    things = EMPTY[(seed // 4) % len(EMPTY)]
    page = draw_ground(rng, ground, size)
    things(page, rng)
    return Page(photograph(rng, page), [], f"{ground}, {things.__name__}")


def nothing(page: np.ndarray, rng: np.random.Generator) -> None:
    """The ground alone."""


def soft_shadow(page: np.ndarray, rng: np.random.Generator) -> None:
    """The shadow of something with a card's shape that is not on the page."""
    shape = sheet(page.shape[:2], rng, 1.4, 0.4)
    page *= 1 - 0.4 * cv2.GaussianBlur(shape, (0, 0), 0.02 * page.shape[0])[..., None]


def text(page: np.ndarray, rng: np.random.Generator) -> None:
    """A printed page: headline, columns, a ruled frame about a paragraph."""
    height, width = page.shape[:2]
    layer = Image.new("L", (width, height))
    pen = ImageDraw.Draw(layer)
    font = ImageFont.load_default(round(height / 75))
    columns = int(rng.integers(1, 4))
    for column in range(columns):
        left = width * (0.08 + 0.86 * column / columns)
        for line in range(int(rng.integers(15, 42))):
            words = " ".join(rng.choice(WORDS, max(2, 12 // columns)))
            pen.text((left, height * (0.07 + 0.02 * line)), words[: 60 // columns], fill=255, font=font)
    framed = rng.uniform(0.2, 0.5)
    top = height * rng.uniform(0.5, 0.7)
    pen.rectangle(
        (width * 0.1, top, width * (0.1 + framed), top + height * 0.2), outline=255, width=max(1, height // 600)
    )
    ink = np.asarray(layer, np.float32)[..., None] / 255
    page += ink * ((25 if page.mean() > 90 else 215) - page)


def ruled_paper(page: np.ndarray, rng: np.random.Generator) -> None:
    """A squared or lined sheet that fills the page."""
    height, width = page.shape[:2]
    pitch = rng.uniform(0.02, 0.05) * height
    for place in np.arange(pitch, height, pitch):
        page[int(place) : int(place) + max(1, height // 900)] *= 0.72
    if rng.random() < 0.5:
        for place in np.arange(pitch, width, pitch * rng.choice([1, 1.4])):
            page[:, int(place) : int(place) + max(1, height // 900)] *= 0.72


def coins(page: np.ndarray, rng: np.random.Generator) -> None:
    """Round things."""
    height, width = page.shape[:2]
    for _ in range(rng.integers(1, 6)):
        alpha = np.zeros((height, width), np.float32)
        centre = (int(rng.uniform(0.1, 0.9) * width), int(rng.uniform(0.1, 0.9) * height))
        radius = rng.uniform(0.03, 0.14) * width
        cv2.ellipse(
            alpha,
            centre,
            (int(radius), int(radius * rng.uniform(0.7, 1))),
            rng.uniform(0, 180),
            0,
            360,
            1,
            -1,
            cv2.LINE_AA,
        )
        put(page, alpha, rng)


def pens(page: np.ndarray, rng: np.random.Generator) -> None:
    """Long thin things."""
    for _ in range(rng.integers(1, 4)):
        put(page, sheet(page.shape[:2], rng, rng.uniform(7, 16), 0.03), rng)


def other_formats(page: np.ndarray, rng: np.random.Generator) -> None:
    """Sheets of other shapes: visiting card, bank card, print, note, ticket."""
    for aspect in rng.permutation([1.75, 1.586, 1.5, 1.0, 2.3, 1.2])[: rng.integers(1, 3)]:
        put(page, sheet(page.shape[:2], rng, aspect, rng.uniform(0.15, 0.4)), rng)


def cut_off(page: np.ndarray, rng: np.random.Generator) -> None:
    """Sheets that the page's edge cuts."""
    for _ in range(rng.integers(1, 3)):
        put(page, sheet(page.shape[:2], rng, rng.uniform(1.3, 1.5), 0.55, edge=True), rng)


def scraps(page: np.ndarray, rng: np.random.Generator) -> None:
    """Torn paper: irregular outlines of four to seven corners."""
    height, width = page.shape[:2]
    for _ in range(rng.integers(1, 4)):
        corners = np.sort(rng.uniform(0, 2 * math.pi, rng.integers(4, 8)))
        reach = rng.uniform(0.06, 0.3) * width * rng.uniform(0.5, 1, len(corners))
        centre = rng.uniform(0.3, 0.7, 2) * [width, height]
        points = centre + reach[:, None] * np.stack([np.cos(corners), np.sin(corners)], axis=1)
        alpha = np.zeros((height, width), np.float32)
        cv2.fillPoly(alpha, [np.rint(points).astype(np.int32)], 1, cv2.LINE_AA)
        put(page, alpha, rng)


def tiles(page: np.ndarray, rng: np.random.Generator) -> None:
    """A floor of square tiles or bricks."""
    height, width = page.shape[:2]
    down = height * rng.uniform(0.1, 0.3)
    across = down * rng.choice([1.0, 2.2])
    joint = max(2, height // 200)
    for row, top in enumerate(np.arange(rng.uniform(0, down), height, down)):
        page[int(top) : int(top) + joint] *= 0.6
        for left in np.arange((row % 2) * across / 2, width, across):
            page[int(top) : int(top + down), int(left) : int(left) + joint] *= 0.6


EMPTY = (nothing, text, other_formats, coins, pens, soft_shadow, cut_off, scraps, ruled_paper, tiles)


def sheet(
    size: tuple[int, int], rng: np.random.Generator, aspect: float, share: float, edge: bool = False
) -> np.ndarray:
    """Coverage of a rectangle of an aspect, its short side a share of the page's width, float32 (H, W)."""
    height, width = size
    short = share * width
    centre = np.array([width, height]) * (
        rng.uniform(0.3, 0.7, 2) if not edge else [rng.choice([0.0, 1.0]), rng.uniform(0.2, 0.8)]
    )
    box = cv2.boxPoints((tuple(map(float, centre)), (float(short), float(short * aspect)), float(rng.uniform(-90, 90))))
    alpha = np.zeros(size, np.float32)
    cv2.fillPoly(alpha, [np.rint(box * 16).astype(np.int32)], 1, cv2.LINE_AA, 4)
    return alpha


def put(page: np.ndarray, alpha: np.ndarray, rng: np.random.Generator) -> None:
    """Lay a plain thing of some colour on the page, with its shadow."""
    cast_shadow(page, alpha, rng)
    page += alpha[..., None] * (rng.uniform(20, 245, 3).astype(np.float32) - page)

"""Cards on a scanner page or a phone photo: found, judged, and put in reading order.

Pages are uint8 (H, W, 3), RGB. Places on a page are x and y in pixels, whole numbers at pixel centres.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cardsynth.scans.outlines import Sides, area_of, clockwise, cv2, fit_sides, ground_distance, regions

CARD_ASPECT = 3.5 / 2.5  # long over short side
WORKING_SIDE = 900  # pixels of a page's long side where outlines are sought; lines are then fitted at full size
LONG_SIDE_IN_FOCAL_LENGTHS = 1.35  # of a phone's main camera: 36 mm of film behind 27 mm of lens


@dataclass(frozen=True)
class FoundCard:
    """A card found on a page.

    corners: float64 (4, 2), x and y in page pixels, from the card's top left clockwise, the card being portrait.
    confidence: 0 to 1. reason: what holds the confidence down, empty where nothing does. angle: degrees by which the
    card is turned clockwise on the page, -45 to 135 before it is turned over; about 90 where it lies on its side.
    """

    corners: np.ndarray
    confidence: float
    reason: str
    angle: float


def find_cards_on_page(page: np.ndarray, aspect: float = CARD_ASPECT, least: float = 0.3) -> list[FoundCard]:
    """The cards of a page in reading order, row by row from the top left; none where there are none.

    page: uint8 (H, W, 3), RGB. aspect: long over short side of a card. least: confidence below which outlines are left
    out; 0 also returns what was looked at and turned down, with its reason. Raises ValueError for another kind of page.
    """
    if page.ndim != 3 or page.shape[2] != 3 or page.dtype != np.uint8:
        raise ValueError(f"a page is {page.dtype} of shape {page.shape}; give uint8 (height, width, 3)")
    if aspect < 1:
        raise ValueError(f"aspect is {aspect}; give the long side over the short one, like 1.4")
    if min(page.shape[:2]) < 64:
        return []
    scale = min(1.0, WORKING_SIDE / max(page.shape[:2]))
    small = cv2.resize(page, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else page
    zoom = np.array([page.shape[1] / small.shape[1], page.shape[0] / small.shape[0]])
    distance = ground_distance(small)
    coarse = []
    for quad in _distinct(regions(small, distance)):
        if not 0.75 < aspect_of(quad, small.shape) / aspect < 1.33:
            continue
        sides = fit_sides(small, quad, 3 + 0.03 * math.sqrt(abs(area_of(quad))), exact=False)
        if sides is not None and _is_convex(sides.corners):
            coarse.append((_standing(sides, small.shape, aspect), sides.corners))
    found = []
    for corners in _best(coarse):
        quad = (corners + 0.5) * zoom - 0.5
        sides = fit_sides(page, quad, 3 + 0.05 * math.sqrt(area_of(quad)), exact=True)
        if sides is None or not _is_convex(sides.corners):
            continue
        confidence, reason = _judge(sides, page.shape, aspect)
        found.append(_portrait(FoundCard(sides.corners, confidence, reason, 0.0)))
    found = _without_gatherings(found, distance, zoom)
    return in_reading_order([card for card in _agreeing(found) if card.confidence >= least])


def _distinct(quads: list[np.ndarray]) -> list[np.ndarray]:
    """Quads of which no two have all corners within a few pixels of each other."""
    kept: list[np.ndarray] = []
    for quad in quads:
        quad = np.roll(quad, -int(np.argmin(quad.sum(axis=1))), axis=0)
        near = 2 + 0.008 * math.sqrt(abs(area_of(quad)))
        if all(np.abs(quad - other).max() > near for other in kept):
            kept.append(quad)
    return kept


def _is_convex(quad: np.ndarray) -> bool:
    sides = np.roll(quad, -1, axis=0) - quad
    following = np.roll(sides, -1, axis=0)
    return bool((sides[:, 0] * following[:, 1] - sides[:, 1] * following[:, 0] > 0).all())


def aspect_of(quad: np.ndarray, shape: Sequence[int]) -> float:
    """Long over short side of the rectangle whose picture the corners are, seen by a phone's camera or flat.

    The two columns of the homography K [r1 r2 t], with K of a camera whose focal length is known about, have the
    lengths of the sides (Zhang and He, Whiteboard scanning and image enhancement, 2007). shape: (height, width, ...).
    """
    centre = np.array([shape[1] / 2, shape[0] / 2])
    focal = max(shape[:2]) / LONG_SIDE_IN_FOCAL_LENGTHS
    unit = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    matrix = cv2.getPerspectiveTransform(unit, ((quad - centre) / focal).astype(np.float32))
    sides = np.linalg.norm(matrix[:, :2], axis=0)
    return float(max(sides) / max(min(sides), 1e-9))


def _judge(sides: Sides, shape: Sequence[int], aspect: float) -> tuple[float, str]:
    """Confidence in an outline by itself, and what holds it down."""
    quad = sides.corners
    height, width = shape[:2]
    edges = np.roll(quad, -1, axis=0) - quad
    lengths = np.linalg.norm(edges, axis=1)
    turns = np.degrees(np.arctan2(edges[:, 1], edges[:, 0]))
    bend = float(np.abs((np.roll(turns, -1) - turns - 90 + 180) % 360 - 180).max())
    ratio = aspect_of(quad, shape)
    worst, mean = float((sides.support * sides.step).min()), float(sides.support.mean())
    outside = max(-quad.min(), float((quad - [width - 1, height - 1]).max())) / lengths.min()
    share = area_of(quad) / (height * width)
    parts = {
        f"long over short side is {ratio:.2f}, not {aspect:.2f}": _falling(abs(ratio / aspect - 1), 0.035, 0.085),
        f"a corner is {bend:.0f} degrees off square": _falling(bend, 6, 25),
        f"its weakest side shows on {worst:.0%} of its length": _falling(-worst, -0.42, -0.27),
        f"its sides show on {mean:.0%} of their length": _falling(1 - mean, 0.2, 0.5),
        "its sides have the same colour within and without": _falling(1 - float(sides.step.mean()), 0.25, 0.45),
        "its sides are as soft as a shadow": _falling(-float(sides.sharpness.mean()), -0.4, -0.28),
        "the page's edge cuts it off": _falling(outside, 0.005, 0.03),
        "it fills the page": _falling(share, 0.93, 0.99),
        "it is tiny": _falling(-min(lengths) / max(height, width), -0.06, -0.03),
    }
    reason = min(parts, key=parts.get)
    return math.prod(parts.values()), reason if parts[reason] < 0.999 else ""


def _standing(sides: Sides, shape: Sequence[int], aspect: float) -> float:
    """What rough outlines of one card are chosen by: confidence, and among the sure ones aspect and support."""
    off = abs(aspect_of(sides.corners, shape) / aspect - 1)
    return _judge(sides, shape, aspect)[0] * math.exp(-8 * off) * (0.5 + 0.5 * float(sides.support.mean()))


def _falling(value: float, good: float, bad: float) -> float:
    """1 up to `good`, 0 from `bad` on, a line between."""
    return float(np.clip((bad - value) / (bad - good), 0, 1))


def _best(coarse: list[tuple[float, np.ndarray]]) -> list[np.ndarray]:
    """Of outlines that lie on each other, the one to fit closely; an outer one before print inside it."""
    kept: list[tuple[float, np.ndarray]] = []
    for standing, quad in sorted(coarse, key=lambda item: -item[0]):
        rivals = [i for i, (_, other) in enumerate(kept) if _overlap(quad, other) > 0.8]
        if not rivals:
            kept.append((standing, quad))
        elif all(standing > 0.85 * kept[i][0] and area_of(quad) > 1.02 * area_of(kept[i][1]) for i in rivals):
            kept = [item for i, item in enumerate(kept) if i not in rivals] + [(standing, quad)]
    return [quad for _, quad in kept]


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Shared area over the area of both, 0 to 1."""
    shared = _shared(one, other)
    return shared / (area_of(one) + area_of(other) - shared)


def _shared(one: np.ndarray, other: np.ndarray) -> float:
    if (one.max(axis=0) < other.min(axis=0)).any() or (other.max(axis=0) < one.min(axis=0)).any():
        return 0.0
    return float(cv2.intersectConvexConvex(one.astype(np.float32), other.astype(np.float32))[0])


def _without_gatherings(found: list[FoundCard], distance: np.ndarray, zoom: np.ndarray) -> list[FoundCard]:
    """Outlines without those about several cards with ground between them, and without those inside a card."""
    kept: list[FoundCard] = []
    for card in sorted(found, key=lambda card: -area_of(card.corners)):
        area = area_of(card.corners)
        inner = [
            other
            for other in found
            if other is not card
            and other.confidence > 0.5
            and area_of(other.corners) < 0.6 * area
            and _shared(card.corners, other.corners) > 0.9 * area_of(other.corners)
        ]
        if len(inner) > 1 and _ground_share(card.corners, distance, zoom) > 0.02:
            continue
        kept.append(card)
    chosen: list[FoundCard] = []
    for card in sorted(kept, key=lambda card: (-round(min(card.confidence, 0.5), 1), -area_of(card.corners))):
        if all(_shared(card.corners, other.corners) < 0.15 * area_of(card.corners) for other in chosen):
            chosen.append(card)
    return chosen


def _ground_share(corners: np.ndarray, distance: np.ndarray, zoom: np.ndarray) -> float:
    """Share of an outline's area that is ground and joined to the ground around it."""
    ground = (distance < 3).astype(np.uint8)
    count, labels = cv2.connectedComponents(ground)
    rim = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    outer = np.zeros(count, bool)
    outer[np.unique(rim)] = True
    outer[0] = False
    quad = np.rint((corners + 0.5) / zoom - 0.5)
    inside = cv2.fillConvexPoly(np.zeros_like(ground), quad.astype(np.int32), 1) > 0
    return float(outer[labels[inside]].mean())


def _agreeing(found: list[FoundCard]) -> list[FoundCard]:
    """Cards whose confidence falls where their size is not that of most others on the page."""
    sure = [area_of(card.corners) for card in found if card.confidence > 0.5]
    if len(sure) < 3:
        return found
    usual = float(np.median(sure))
    cards = []
    for card in found:
        factor = _falling(abs(math.log(area_of(card.corners) / usual)), 0.35, 0.9)
        reason = "its size is not that of the other cards" if factor < 0.999 else card.reason
        cards.append(replace(card, confidence=card.confidence * factor, reason=reason))
    return cards


def _portrait(card: FoundCard) -> FoundCard:
    """The card with corners from its top left on, as a portrait card that is turned by -45 to 135 degrees."""
    corners = clockwise(card.corners)
    lengths = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
    if lengths[0] + lengths[2] > lengths[1] + lengths[3]:
        corners = np.roll(corners, -1, axis=0)
    angle = angle_of(corners)
    if not -45 <= angle < 135:
        corners = np.roll(corners, -2, axis=0)
        angle = angle_of(corners)
    return replace(card, corners=corners, angle=angle)


def angle_of(corners: np.ndarray) -> float:
    """Degrees in -180 to 180 by which a card is turned clockwise, from its top and foot; corners from top left on."""
    across = corners[1] - corners[0] + corners[2] - corners[3]
    return math.degrees(math.atan2(across[1], across[0]))


def in_reading_order(cards: Sequence[FoundCard]) -> list[FoundCard]:
    """Cards row by row from the top, each row from the left; a row is what lies beside its topmost card."""
    rest = sorted(cards, key=lambda card: card.corners[:, 1].mean())
    ordered: list[FoundCard] = []
    while rest:
        first = rest[0].corners
        bottom = first[:, 1].mean() + 0.5 * math.sqrt(area_of(first) / CARD_ASPECT)
        row = [card for card in rest if card.corners[:, 1].mean() <= bottom]
        ordered += sorted(row, key=lambda card: card.corners[:, 0].mean())
        rest = rest[len(row) :]
    return ordered


def turned_over(card: FoundCard) -> FoundCard:
    """The card as it is when what was its foot is its top: turned by half a turn."""
    return replace(card, corners=np.roll(card.corners, -2, axis=0), angle=card.angle % 360 - 180)

"""Finds the cards on a scanner page or phone photo, rates them and sorts them into reading order.

Pages are uint8 (H, W, 3), RGB. Page coordinates are x and y in pixels; whole numbers are pixel centres.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cardsynth.scans.outlines import Sides, area_of, clockwise, cv2, fit_sides, ground_distance, regions

CARD_ASPECT = 3.5 / 2.5  # long side over short side
WORKING_SIDE = 900  # long side, in pixels, of the reduced page on which outlines are searched
SMALLEST_PAGE = 64  # pixels; shorter pages hold no card
LONG_SIDE_IN_FOCAL_LENGTHS = 1.35  # main camera of a phone: 36 mm of film behind a 27 mm lens
ASPECT_RANGE = (0.75, 1.33)  # factors of the card's aspect within which a rough outline is examined
SAME_OUTLINE = 0.8  # intersection over union above which two outlines compete
LIKELY = 0.5  # confidence above which an outline counts as a card when outlines are compared
CONTAINED = 0.9  # share of its area inside another outline above which an outline is part of it
OVERLAP = 0.15  # share of its area that a card may share with another card


@dataclass(frozen=True)
class FoundCard:
    """A card found on a page.

    Attributes:
        corners: float64 (4, 2), x and y in page pixels, clockwise from the top left of the upright portrait card.
        confidence: 0 to 1.
        reason: The criterion that lowers the confidence most; empty if none does.
        angle: Clockwise rotation on the page in degrees, -45 to 135; about 90 for a card on its side.
    """

    corners: np.ndarray
    confidence: float
    reason: str
    angle: float


def find_cards_on_page(page: np.ndarray, aspect: float = CARD_ASPECT, min_confidence: float = 0.3) -> list[FoundCard]:
    """Finds the cards of a page.

    Outlines are searched on a reduced copy of the page; lines are then fitted to their sides at full resolution.

    Args:
        page: uint8 (H, W, 3), RGB.
        aspect: Long side over short side of a card, 1 or more.
        min_confidence: Outlines below this confidence are dropped; 0 also returns rejected outlines with the reason.

    Returns:
        The cards in reading order, row by row from the top left; an empty list if the page has none.

    Raises:
        ValueError: If the page is not uint8 (H, W, 3), or the aspect is below 1.
    """
    if page.ndim != 3 or page.shape[2] != 3 or page.dtype != np.uint8:
        raise ValueError(f"a page is {page.dtype} of shape {page.shape}; give uint8 (height, width, 3)")
    if aspect < 1:
        raise ValueError(f"aspect is {aspect}; give the long side over the short one, like 1.4")
    if min(page.shape[:2]) < SMALLEST_PAGE:
        return []
    scale = min(1.0, WORKING_SIDE / max(page.shape[:2]))
    small = cv2.resize(page, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else page
    zoom = np.array([page.shape[1] / small.shape[1], page.shape[0] / small.shape[0]])
    distance = ground_distance(small)
    candidates = []
    for quad in _distinct(regions(small, distance)):
        if ASPECT_RANGE[0] < aspect_of(quad, small.shape) / aspect < ASPECT_RANGE[1]:
            sides = fit_sides(small, quad, 3 + 0.03 * math.sqrt(abs(area_of(quad))), exact=False)
            if sides is not None and _is_convex(sides.corners):
                candidates.append((_rank(sides, small.shape, aspect), sides.corners))
    cards = []
    for corners in _best(candidates):
        quad = (corners + 0.5) * zoom - 0.5
        sides = fit_sides(page, quad, 3 + 0.05 * math.sqrt(area_of(quad)), exact=True)
        if sides is not None and _is_convex(sides.corners):
            cards.append(_portrait(FoundCard(sides.corners, *_rate(sides, page.shape, aspect), angle=0.0)))
    cards = [card for card in cards if not _encloses_cards(card, cards, distance, zoom)]
    cards = _rate_by_size(_without_overlaps(cards))
    return in_reading_order([card for card in cards if card.confidence >= min_confidence])


def _distinct(quads: list[np.ndarray]) -> list[np.ndarray]:
    """Drops quads all of whose corners lie within a few pixels of an earlier quad's corners."""
    distinct: list[np.ndarray] = []
    for quad in quads:
        quad = np.roll(quad, -int(np.argmin(quad.sum(axis=1))), axis=0)
        tolerance = 2 + 0.008 * math.sqrt(abs(area_of(quad)))
        if all(np.abs(quad - other).max() > tolerance for other in distinct):
            distinct.append(quad)
    return distinct


def _is_convex(quad: np.ndarray) -> bool:
    sides = np.roll(quad, -1, axis=0) - quad
    next_sides = np.roll(sides, -1, axis=0)
    return bool((sides[:, 0] * next_sides[:, 1] - sides[:, 1] * next_sides[:, 0] > 0).all())


def aspect_of(quad: np.ndarray, shape: Sequence[int]) -> float:
    """Returns the aspect of the rectangle that appears as a quad, photographed at an angle or scanned flat.

    The first two columns of the homography K [r1 r2 t] have the lengths of the sides, where K is the matrix of a
    camera of roughly known focal length (Zhang and He, Whiteboard scanning and image enhancement, 2007).

    Args:
        quad: (4, 2), corners as x and y.
        shape: (height, width, ...) of the page.

    Returns:
        Long side over short side.
    """
    centre = np.array([shape[1] / 2, shape[0] / 2])
    focal_length = max(shape[:2]) / LONG_SIDE_IN_FOCAL_LENGTHS
    unit_square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    homography = cv2.getPerspectiveTransform(unit_square, ((quad - centre) / focal_length).astype(np.float32))
    sides = np.linalg.norm(homography[:, :2], axis=0)
    return float(max(sides) / max(min(sides), 1e-9))


def _rate(sides: Sides, shape: Sequence[int], aspect: float) -> tuple[float, str]:
    """Returns the confidence in a single outline and the criterion that lowers it most."""
    quad = sides.corners
    height, width = shape[:2]
    edges = np.roll(quad, -1, axis=0) - quad
    lengths = np.linalg.norm(edges, axis=1)
    directions = np.degrees(np.arctan2(edges[:, 1], edges[:, 0]))
    skew = float(np.abs((np.roll(directions, -1) - directions - 90 + 180) % 360 - 180).max())
    ratio = aspect_of(quad, shape)
    weakest, mean = float((sides.support * sides.step).min()), float(sides.support.mean())
    outside = max(-quad.min(), float((quad - [width - 1, height - 1]).max())) / lengths.min()
    share = area_of(quad) / (height * width)
    scores = {
        f"long over short side is {ratio:.2f}, not {aspect:.2f}": _falling(abs(ratio / aspect - 1), 0.035, 0.085),
        f"a corner is {skew:.0f} degrees off square": _falling(skew, 6, 25),
        f"its weakest side is visible on {weakest:.0%} of its length": _falling(-weakest, -0.42, -0.27),
        f"its sides are visible on {mean:.0%} of their length": _falling(1 - mean, 0.2, 0.5),
        "its sides have the same colour inside and outside": _falling(1 - float(sides.step.mean()), 0.25, 0.45),
        "its sides are as soft as a shadow": _falling(-float(sides.sharpness.mean()), -0.4, -0.28),
        "the page's edge cuts it off": _falling(outside, 0.005, 0.03),
        "it fills the page": _falling(share, 0.93, 0.99),
        "it is tiny": _falling(-min(lengths) / max(height, width), -0.06, -0.03),
    }
    reason = min(scores, key=scores.get)
    return math.prod(scores.values()), reason if scores[reason] < 0.999 else ""


def _rank(sides: Sides, shape: Sequence[int], aspect: float) -> float:
    """Orders rough outlines of the same card: by confidence, and among confident ones by aspect and support."""
    deviation = abs(aspect_of(sides.corners, shape) / aspect - 1)
    return _rate(sides, shape, aspect)[0] * math.exp(-8 * deviation) * (0.5 + 0.5 * float(sides.support.mean()))


def _falling(value: float, good: float, bad: float) -> float:
    """Returns 1 up to `good`, 0 from `bad` on, and interpolates linearly between them."""
    return float(np.clip((bad - value) / (bad - good), 0, 1))


def _best(candidates: list[tuple[float, np.ndarray]]) -> list[np.ndarray]:
    """Chooses one of the outlines that cover each other, and prefers a card's edge to a printed frame inside it."""
    best: list[tuple[float, np.ndarray]] = []
    for rank, quad in sorted(candidates, key=lambda candidate: -candidate[0]):
        rivals = [index for index, (_, other) in enumerate(best) if _iou(quad, other) > SAME_OUTLINE]
        # No rival: the list is kept and all() is true, so the quad is added.
        if all(rank > 0.85 * best[index][0] and area_of(quad) > 1.02 * area_of(best[index][1]) for index in rivals):
            best = [candidate for index, candidate in enumerate(best) if index not in rivals] + [(rank, quad)]
    return [quad for _, quad in best]


def _iou(quad: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union, 0 to 1."""
    intersection = _intersection(quad, other)
    return intersection / (area_of(quad) + area_of(other) - intersection)


def _intersection(quad: np.ndarray, other: np.ndarray) -> float:
    if (quad.max(axis=0) < other.min(axis=0)).any() or (other.max(axis=0) < quad.min(axis=0)).any():
        return 0.0
    return float(cv2.intersectConvexConvex(quad.astype(np.float32), other.astype(np.float32))[0])


def _encloses_cards(card: FoundCard, cards: list[FoundCard], distance: np.ndarray, zoom: np.ndarray) -> bool:
    """Tells whether an outline surrounds several likely cards with ground between them."""
    inner_areas = [
        area_of(other.corners)
        for other in cards
        if other is not card
        and other.confidence > LIKELY
        and area_of(other.corners) < 0.6 * area_of(card.corners)
        and _intersection(card.corners, other.corners) > CONTAINED * area_of(other.corners)
    ]
    return len(inner_areas) > 1 and _ground_share(card.corners, distance, zoom) > 0.02


def _without_overlaps(cards: list[FoundCard]) -> list[FoundCard]:
    """Drops outlines inside or across other outlines: unlikely and small ones first."""
    separate: list[FoundCard] = []
    for card in sorted(cards, key=lambda card: (-round(min(card.confidence, LIKELY), 1), -area_of(card.corners))):
        limit = OVERLAP * area_of(card.corners)
        if all(_intersection(card.corners, other.corners) < limit for other in separate):
            separate.append(card)
    return separate


def _ground_share(corners: np.ndarray, distance: np.ndarray, zoom: np.ndarray) -> float:
    """Share of an outline's area that is ground and connected to the border of the page."""
    ground = (distance < 3).astype(np.uint8)
    count, components = cv2.connectedComponents(ground)
    border = np.concatenate([components[0], components[-1], components[:, 0], components[:, -1]])
    is_outer = np.zeros(count, bool)
    is_outer[np.unique(border)] = True
    is_outer[0] = False
    quad = np.rint((corners + 0.5) / zoom - 0.5)
    inside = cv2.fillConvexPoly(np.zeros_like(ground), quad.astype(np.int32), 1) > 0
    return float(is_outer[components[inside]].mean())


def _rate_by_size(cards: list[FoundCard]) -> list[FoundCard]:
    """Lowers the confidence of cards whose area differs from the median area of the page's likely cards."""
    areas = [area_of(card.corners) for card in cards if card.confidence > LIKELY]
    if len(areas) < 3:
        return cards
    median = float(np.median(areas))
    rated = []
    for card in cards:
        factor = _falling(abs(math.log(area_of(card.corners) / median)), 0.35, 0.9)
        reason = "its size differs from the other cards" if factor < 0.999 else card.reason
        rated.append(replace(card, confidence=card.confidence * factor, reason=reason))
    return rated


def _portrait(card: FoundCard) -> FoundCard:
    """Orders the corners so that the card is portrait and rotated by -45 to 135 degrees."""
    corners = clockwise(card.corners)
    lengths = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
    if lengths[0] + lengths[2] > lengths[1] + lengths[3]:
        corners = np.roll(corners, -1, axis=0)
    if not -45 <= angle_of(corners) < 135:
        corners = np.roll(corners, -2, axis=0)
    return replace(card, corners=corners, angle=angle_of(corners))


def angle_of(corners: np.ndarray) -> float:
    """Returns the clockwise rotation of a card in degrees, -180 to 180.

    Args:
        corners: (4, 2), x and y, clockwise from the card's top left.
    """
    across = corners[1] - corners[0] + corners[2] - corners[3]
    return math.degrees(math.atan2(across[1], across[0]))


def in_reading_order(cards: Sequence[FoundCard]) -> list[FoundCard]:
    """Sorts cards row by row from the top, each row from the left.

    A row holds the cards whose centres are at most half a card width below the centre of its topmost card.
    """
    remaining = sorted(cards, key=lambda card: card.corners[:, 1].mean())
    ordered: list[FoundCard] = []
    while remaining:
        first = remaining[0].corners
        bottom = first[:, 1].mean() + 0.5 * math.sqrt(area_of(first) / CARD_ASPECT)
        row = [card for card in remaining if card.corners[:, 1].mean() <= bottom]
        ordered += sorted(row, key=lambda card: card.corners[:, 0].mean())
        remaining = remaining[len(row) :]
    return ordered


def turned_over(card: FoundCard) -> FoundCard:
    """Returns the card rotated by half a turn: its bottom edge becomes its top edge."""
    return replace(card, corners=np.roll(card.corners, -2, axis=0), angle=card.angle % 360 - 180)

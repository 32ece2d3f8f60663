"""Finds four-sided regions on a page that stand out from its background, and fits straight lines to their sides.

The background of a page, the scanner lid or the table, is called its ground.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

try:
    import cv2
except ImportError as error:
    if error.name != "cv2":
        raise
    raise ImportError("reading scans needs OpenCV: pip install cardsynth[scans]", name="cv2") from error

GROUND_DISTANCES = (3.0, 5.0, 9.0, 16.0)  # thresholds, in standard deviations of the ground's colour
EDGE_THRESHOLDS = ((15, 40), (40, 110))  # low and high thresholds of Canny's edge detector
OPENING_RADII = (1, 4)  # pixels; morphological opening cuts thin bridges between regions
SMALLEST_REGION = 0.003  # share of the page's area
HULL_TOLERANCES = (0.02, 0.03, 0.045, 0.06, 0.08)  # share of a hull's length by which four corners may simplify it
SHORTEST_SIDE = 12  # pixels
PROFILES = 48  # profiles of colour across each side
CLEAR_STEP = 9.0  # RGB distance below which an edge is indistinguishable from noise
WAVINESS = 0.002  # share of a side's length by which worn edges deviate from the line
WEAKEST_RIVAL = 0.12  # share of the strongest line's contrast that a line further out must have
END = 0.1  # share of a side excluded at each end, where corners are round and worn
ROBUST_STEPS = 6  # iterations of the fit that rejects outliers of the ground's colour
OUTLIER = 3.5  # robust standard deviations


@dataclass(frozen=True)
class Sides:
    """Lines fitted to the four sides of a region.

    Attributes:
        corners: float64 (4, 2), x and y of the intersections of the lines.
        support: (4,), share of each side where an edge lies on the line, 0 to 1.
        step: (4,), share of each side whose colour changes across the line in the same direction, 0 to 1. It is low for
            a line drawn on a sheet.
        sharpness: (4,), share of that change within a few pixels of the line, the median along the side. It is low for
            a shadow.
    """

    corners: np.ndarray
    support: np.ndarray
    step: np.ndarray
    sharpness: np.ndarray


class _Line(NamedTuple):
    """A line across the profiles of a side: its offset at the first and at the last profile, and its support."""

    first: float
    last: float
    support: float


def ground_distance(small: np.ndarray) -> np.ndarray:
    """Returns how far the colour of each pixel is from the ground, in standard deviations of the ground.

    The ground is the colour of most of the page's border. It is modelled as a quadratic function of the position,
    fitted to the border with outliers rejected; the covariance is that of the residuals.

    Args:
        small: uint8 (H, W, 3), RGB.

    Returns:
        float32 (H, W).
    """
    height, width = small.shape[:2]
    lab = cv2.cvtColor(cv2.GaussianBlur(small, (3, 3), 0), cv2.COLOR_RGB2LAB).astype(np.float32)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=-1)
    border = np.ones((height, width), bool)
    margin = max(4, round(0.025 * min(height, width)))
    border[margin:-margin, margin:-margin] = False
    colours, border_terms = lab[border], terms[border]
    inlier = np.ones(len(colours), bool)
    residual = colours - np.median(colours, axis=0)
    for _ in range(ROBUST_STEPS):
        # 1.4826 turns a median absolute deviation into a standard deviation.
        deviation = 1.4826 * np.median(np.abs(residual[inlier]), axis=0) + 1
        inlier = np.abs(residual / deviation).max(axis=1) < OUTLIER
        fit = np.linalg.lstsq(border_terms[inlier], colours[inlier], rcond=None)[0]
        residual = colours - border_terms @ fit
    covariance = np.cov(residual[inlier].T) + np.diag([4.0, 1.5, 1.5])
    whitener = np.linalg.cholesky(np.linalg.inv(covariance)).astype(np.float32)
    difference = (lab - terms @ fit.astype(np.float32)) @ whitener
    return np.sqrt(np.einsum("hwc,hwc->hw", difference, difference))


def regions(small: np.ndarray, distance: np.ndarray) -> list[np.ndarray]:
    """Finds four-cornered regions of a page that may be cards, by their colour and by their edges.

    Args:
        small: uint8 (H, W, 3), RGB.
        distance: float32 (H, W), see `ground_distance`.

    Returns:
        float64 (4, 2) each, the corners as x and y, clockwise.
    """
    masks = [(distance > limit).astype(np.uint8) for limit in GROUND_DISTANCES]
    channels = cv2.split(cv2.cvtColor(cv2.GaussianBlur(small, (3, 3), 0), cv2.COLOR_RGB2LAB))
    for low, high in EDGE_THRESHOLDS:
        edges = np.maximum.reduce([cv2.Canny(channel, low, high, L2gradient=True) for channel in channels])
        masks.append(cv2.dilate(edges, np.ones((3, 3), np.uint8)))
    quads = []
    for mask in masks:
        filled = cv2.drawContours(np.zeros_like(mask), _contours(mask), -1, 1, cv2.FILLED)
        for radius in OPENING_RADII:
            kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
            quads += _quads(cv2.morphologyEx(filled, cv2.MORPH_OPEN, kernel))
    return quads


def _contours(mask: np.ndarray) -> list[np.ndarray]:
    return cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]


def _quads(mask: np.ndarray) -> list[np.ndarray]:
    """Returns the smallest rectangle around each region, and its convex hull reduced to four corners if it fits."""
    quads = []
    for contour in _contours(mask):
        if cv2.contourArea(contour) < SMALLEST_REGION * mask.size:
            continue
        hull = cv2.convexHull(contour)
        quads.append(cv2.boxPoints(cv2.minAreaRect(hull)))
        length = cv2.arcLength(hull, True)
        simplified = (cv2.approxPolyDP(hull, tolerance * length, True) for tolerance in HULL_TOLERANCES)
        quads += [corners.reshape(4, 2) for corners in simplified if len(corners) == 4][:1]
    return [clockwise(quad.astype(np.float64)) for quad in quads]


def clockwise(quad: np.ndarray) -> np.ndarray:
    """Orders corners (4, 2) clockwise on the page, whose y axis points down; the first corner stays first."""
    return quad if area_of(quad) > 0 else quad[[0, 3, 2, 1]]


def area_of(quad: np.ndarray) -> float:
    """Returns the area of a polygon (N, 2), positive if it runs clockwise on the page (shoelace formula)."""
    x, y = np.asarray(quad, np.float64).T
    return 0.5 * float(x @ np.roll(y, -1) - y @ np.roll(x, -1))


def fit_sides(image: np.ndarray, quad: np.ndarray, reach: float, exact: bool) -> Sides | None:
    """Fits lines to the four sides of a region.

    Of the lines with high support the outermost is chosen, so that a printed frame is not mistaken for the card's edge.

    Args:
        image: uint8 (H, W, 3).
        quad: (4, 2), corners as x and y, clockwise.
        reach: Distance from each side, in pixels, within which edges are searched.
        exact: Refine the lines to sub-pixel positions by least squares.

    Returns:
        The lines; None if a side is too short or the lines do not meet in four corners near the page.
    """
    height, width = image.shape[:2]
    sides = [_fit_side(image, quad[i], quad[(i + 1) % 4], round(reach), exact) for i in range(4)]
    if None in sides:
        return None
    ends, support, step, sharpness = zip(*sides, strict=True)
    corners = np.array([_intersection(*ends[i - 1], *ends[i]) for i in range(4)])
    margin = 0.2 * max(height, width)
    if (
        not np.isfinite(corners).all()
        or (corners < -margin).any()
        or (corners > [width + margin, height + margin]).any()
    ):
        return None
    return Sides(corners, np.array(support), np.array(step), np.array(sharpness))


def _fit_side(
    image: np.ndarray, start: np.ndarray, end: np.ndarray, reach: int, exact: bool
) -> tuple[tuple[np.ndarray, np.ndarray], float, float, float] | None:
    """Fits a line to one side; returns its two ends, support, step and sharpness, or None for a side too short."""
    length = np.linalg.norm(end - start)
    if length < SHORTEST_SIDE:
        return None
    along = (end - start) / length
    outward = np.array([along[1], -along[0]])
    waviness, window = max(1, round(WAVINESS * length)), 3 if exact else 2
    padding = max(5 * window, round(0.03 * length)) + 1
    offsets = np.arange(-reach - padding, reach + padding + 1)
    shares = np.linspace(END, 1 - END, PROFILES)
    profiles = _profiles(image, start + shares[:, None] * (end - start), along, offsets[:, None] * outward)
    strength = _strength(profiles, window)
    floor = max(CLEAR_STEP, 2.2 * float(np.median(strength[:, window - padding :])))  # noise of the ground beyond reach
    strength = strength[:, padding - window : window - padding]
    line = _best_line(strength, floor, round(0.012 * length), waviness)
    if exact:
        line = _refine(strength, line, floor, waviness)
    position = line.first + (line.last - line.first) * (shares - END) / (1 - 2 * END)
    difference = _beside(profiles, position + padding, -1, padding) - _beside(profiles, position + padding, 1, padding)
    common = np.median(difference, axis=0)
    step = float(np.mean(difference @ common > 0.6 * CLEAR_STEP * np.linalg.norm(common)))
    on_line = strength[np.arange(PROFILES), np.clip(np.rint(position).astype(int), 0, strength.shape[1] - 1)]
    sharpness = float(np.median(on_line / np.maximum(np.linalg.norm(difference, axis=1), CLEAR_STEP)))
    slope = (line.last - line.first) / (1 - 2 * END)
    offset_at_start, offset_at_end = line.first - slope * END - reach, line.first + slope * (1 - END) - reach
    return (start + offset_at_start * outward, end + offset_at_end * outward), line.support, step, sharpness


def _profiles(image: np.ndarray, centres: np.ndarray, along: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Samples colours across a side, each the mean of five neighbours along the side.

    centres: (P, 2), points on the side; along: (2,), its direction; offsets: (O, 2), vectors across it. Returns float32
    (P, O, 3).
    """
    neighbours = np.linspace(-2, 2, 5)
    points = centres[:, None, None] + offsets[None, :, None]
    points = (points + neighbours[None, None, :, None] * along).reshape(len(centres), -1, 2).astype(np.float32)
    colours = cv2.remap(image, points[..., 0], points[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return colours.reshape(len(centres), len(offsets), 5, 3).mean(axis=2, dtype=np.float32)


def _strength(profiles: np.ndarray, window: int) -> np.ndarray:
    """RGB distance between the means of `window` pixels on either side of each pixel, (P, O - 2 * window)."""
    sums = np.cumsum(np.pad(profiles, ((0, 0), (1, 0), (0, 0))), axis=1)
    means = (sums[:, window:] - sums[:, :-window]) / window
    # The windows exclude the pixel in the middle.
    difference = means[:, window + 1 :] - means[:, : -window - 1]
    return np.linalg.norm(difference, axis=2)


def _best_line(strength: np.ndarray, floor: float, close: int, waviness: int) -> _Line:
    """Searches all straight lines across the profiles of a side.

    A worn edge may lie up to `waviness` pixels off its line. Of lines at most `close` pixels apart the strongest is
    chosen; of others the outermost with high support.
    """
    count, offsets = strength.shape
    profiles, band = np.arange(count), np.ones((1, 2 * waviness + 1), np.uint8)
    padded = np.pad(strength, ((0, 0), (1, 1)), constant_values=np.inf)
    peak = (strength >= floor) & (strength >= padded[:, :-2]) & (strength >= padded[:, 2:])
    edge = cv2.dilate(np.where(peak, np.minimum(strength / (1.6 * floor), 1), 0).astype(np.float32), band)
    power = cv2.dilate(np.where(peak, strength, 0).astype(np.float32), band)
    ends = np.arange(0, offsets, 2 if offsets > 15 else 1)
    share = np.linspace(0, 1, count)
    positions = ends[:, None, None] * (1 - share) + ends[None, :, None] * share
    index = profiles, np.rint(positions).astype(int)
    support, contrast = edge[index].mean(axis=2), power[index].mean(axis=2)
    outwardness = (ends[:, None] + ends[None, :]) / (2 * offsets)
    rivals = (support > 0.7 * support.max()) & (contrast > WEAKEST_RIVAL * contrast.max())
    score = support + 0.6 * outwardness * rivals
    first, last = ends[np.array(np.unravel_index(np.argmax(score), support.shape))]
    # The rim of a shadow lies close outside the card's edge and is softer.
    line, shifts = first + (last - first) * share, np.arange(-close, close + 1)
    shifted = np.clip(np.rint(line + shifts[:, None]).astype(int), 0, offsets - 1)
    shift = shifts[np.argmax(np.minimum(strength, 12 * floor)[profiles, shifted].mean(axis=1))]
    on_line = edge[profiles, np.clip(np.rint(line + shift).astype(int), 0, offsets - 1)]
    return _Line(float(first + shift), float(last + shift), float(on_line.mean()))


def _refine(strength: np.ndarray, line: _Line, floor: float, waviness: int) -> _Line:
    """Fits a line to the sub-pixel peaks near another line; its support is the share of profiles with such a peak."""
    count, offsets = strength.shape
    profiles, share = np.arange(count), np.linspace(0, 1, count)
    expected = line.first + (line.last - line.first) * share
    nearby = np.rint(expected).astype(int)[:, None] + np.arange(-2 - waviness, 3 + waviness)
    nearby = np.clip(nearby, 1, offsets - 2)
    peak = nearby[profiles, np.argmax(strength[profiles[:, None], nearby], axis=1)]
    before, middle, after = (strength[profiles, peak + shift] for shift in (-1, 0, 1))
    curvature = before - 2 * middle + after  # the vertex of a parabola through the three values
    vertex = np.where(curvature < 0, np.clip(0.5 * (before - after) / np.minimum(curvature, -1e-6), -1, 1), 0)
    position, strong = peak + vertex, middle >= floor
    if strong.sum() < count // 4:
        return line._replace(support=float(strong.mean()))
    weight = strong.astype(np.float64)
    for _ in range(5):
        fit = np.polyfit(share, position, 1, w=weight + 1e-9)
        deviation = np.abs(position - np.polyval(fit, share))
        weight = strong / (1 + (deviation / (0.7 * waviness)) ** 2)  # Cauchy weights
    return _Line(float(fit[1]), float(fit[0] + fit[1]), float(np.mean(strong & (deviation < 1 + waviness))))


def _beside(profiles: np.ndarray, position: np.ndarray, direction: int, padding: int) -> np.ndarray:
    """Median colour of each profile on one side of the line, from 2 pixels off it to the padding, (P, 3)."""
    steps = np.arange(2, max(5, padding))
    index = np.clip(np.rint(position)[:, None].astype(int) + direction * steps, 0, profiles.shape[1] - 1)
    return np.median(profiles[np.arange(len(profiles))[:, None], index], axis=1)


def _intersection(p: np.ndarray, q: np.ndarray, r: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Returns where the line through p and q meets the line through r and s; NaN if they are parallel."""
    matrix = np.array([q - p, r - s]).T
    if abs(np.linalg.det(matrix)) < 1e-6 * np.linalg.norm(q - p) * np.linalg.norm(r - s):
        return np.full(2, np.nan)
    return p + np.linalg.solve(matrix, r - p)[0] * (q - p)

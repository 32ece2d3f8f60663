"""Outlines on a page: four-sided regions that stand out from the ground, and straight lines fitted to their sides."""

from dataclasses import dataclass

import numpy as np

try:
    import cv2
except ImportError as error:
    if error.name != "cv2":
        raise
    raise ImportError("reading scans needs OpenCV: pip install cardsynth[scans]", name="cv2") from error

GROUND_DISTANCES = (3.0, 5.0, 9.0, 16.0)  # standard deviations of the ground's colour
EDGE_THRESHOLDS = ((15, 40), (40, 110))  # Canny's, low and high
PROFILES = 48  # across each side
CLEAR_STEP = 9.0  # levels of RGB distance below which no edge is told from noise
WAVINESS = 0.002  # of a side's length by which worn edges leave the line
FAINTEST = 0.12  # of the strongest line's contrast: that of an edge that can stand outside it
END = 0.1  # share of a side left out at each end, where corners are round and worn


@dataclass(frozen=True)
class Sides:
    """Lines fitted to the four sides of a region.

    corners: float64 (4, 2), x and y, where the lines meet. support: share of each side where an edge lies on the line,
    (4,) in 0 to 1. step: share of each side whose colour differs across the line, and all in one way, (4,) in 0 to 1:
    low for a line drawn on a sheet. sharpness: share of that difference that lies within a few pixels of the line, at
    the median along the side, (4,): low for a shadow.
    """

    corners: np.ndarray
    support: np.ndarray
    step: np.ndarray
    sharpness: np.ndarray


def ground_distance(small: np.ndarray) -> np.ndarray:
    """How far each pixel's colour is from the ground, in standard deviations of the ground.

    small: uint8 (H, W, 3), RGB. The ground is what most of the page's border is: a colour that changes as a quadratic
    of the place, with the covariance of its residuals. Returns float32 (H, W).
    """
    height, width = small.shape[:2]
    lab = cv2.cvtColor(cv2.GaussianBlur(small, (3, 3), 0), cv2.COLOR_RGB2LAB).astype(np.float32)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=-1)
    ring = np.ones((height, width), bool)
    band = max(4, round(0.025 * min(height, width)))
    ring[band:-band, band:-band] = False
    seen, places = lab[ring], terms[ring]
    weight = np.ones(len(seen), np.float32)
    residual = seen - np.median(seen, axis=0)
    for _ in range(6):
        spread = 1.4826 * np.median(np.abs(residual[weight > 0]), axis=0) + 1
        weight = (np.abs(residual / spread).max(axis=1) < 3.5).astype(np.float32)
        kept = weight > 0
        fit = np.linalg.lstsq(places[kept], seen[kept], rcond=None)[0]
        residual = seen - places @ fit
    covariance = np.cov(residual[weight > 0].T) + np.diag([4.0, 1.5, 1.5])
    whitener = np.linalg.cholesky(np.linalg.inv(covariance)).astype(np.float32)
    difference = (lab - terms @ fit.astype(np.float32)) @ whitener
    return np.sqrt(np.einsum("hwc,hwc->hw", difference, difference))


def regions(small: np.ndarray, distance: np.ndarray) -> list[np.ndarray]:
    """Four-cornered regions of a page that may be cards, found by their colour and by their edges.

    small: uint8 (H, W, 3), RGB; distance: of `ground_distance`. Returns float64 (4, 2) each, x and y, in order around.
    """
    masks = [(distance > limit).astype(np.uint8) for limit in GROUND_DISTANCES]
    channels = cv2.split(cv2.cvtColor(cv2.GaussianBlur(small, (3, 3), 0), cv2.COLOR_RGB2LAB))
    for low, high in EDGE_THRESHOLDS:
        edges = np.maximum.reduce([cv2.Canny(channel, low, high, L2gradient=True) for channel in channels])
        masks.append(cv2.dilate(edges, np.ones((3, 3), np.uint8)))
    quads = []
    for mask in masks:
        filled = _filled(mask)
        for radius in (1, 4):
            kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
            quads += _quads(cv2.morphologyEx(filled, cv2.MORPH_OPEN, kernel))
    return quads


def _filled(mask: np.ndarray) -> np.ndarray:
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return cv2.drawContours(np.zeros_like(mask), contours, -1, 1, cv2.FILLED)


def _quads(mask: np.ndarray) -> list[np.ndarray]:
    """Smallest rectangle about each region of a mask, and its hull cut down to four corners where that fits."""
    quads = []
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    for contour in contours:
        area = cv2.contourArea(contour)
        if area < 0.003 * mask.size:
            continue
        hull = cv2.convexHull(contour)
        quads.append(cv2.boxPoints(cv2.minAreaRect(hull)).astype(np.float64))
        length = cv2.arcLength(hull, True)
        for share in (0.02, 0.03, 0.045, 0.06, 0.08):
            corners = cv2.approxPolyDP(hull, share * length, True)
            if len(corners) == 4:
                quads.append(corners.reshape(4, 2).astype(np.float64))
                break
    return [clockwise(quad) for quad in quads]


def clockwise(quad: np.ndarray) -> np.ndarray:
    """The corners in the order that runs clockwise on the page, whose y grows downward; the first stays the first."""
    return quad if area_of(quad) > 0 else quad[[0, 3, 2, 1]]


def area_of(quad: np.ndarray) -> float:
    """Area within corners (N, 2), positive where they run clockwise on the page (shoelace formula)."""
    x, y = np.asarray(quad, np.float64).T
    return 0.5 * float(x @ np.roll(y, -1) - y @ np.roll(x, -1))


def fit_sides(image: np.ndarray, quad: np.ndarray, reach: float, exact: bool) -> Sides | None:
    """Lines along the four sides of a region: edges are sought up to `reach` pixels from each side.

    image: uint8 (H, W, 3); quad: (4, 2), clockwise. Of lines with much support the outermost is taken, so that print
    does not pass for the card's edge. With `exact`, lines are fitted to sub-pixel places of the edges by least squares.
    None where the lines do not meet in four corners.
    """
    height, width = image.shape[:2]
    lines, support, step, sharpness = [], [], [], []
    for i in range(4):
        start, end = quad[i], quad[(i + 1) % 4]
        length = np.linalg.norm(end - start)
        if length < 12:
            return None
        waviness = max(1, round(WAVINESS * length))
        along = (end - start) / length
        outward = np.array([along[1], -along[0]])
        window = 2 if not exact else 3
        pad = max(5 * window, round(0.03 * length)) + 1
        offsets = np.arange(-round(reach) - pad, round(reach) + pad + 1)
        places = np.linspace(END, 1 - END, PROFILES)
        profiles = _profiles(image, start, end - start, along, outward, places, offsets)
        strength = _strength(profiles, window)
        floor = max(CLEAR_STEP, 2.2 * float(np.median(strength[:, window - pad :])))  # the ground beyond reach
        strength = strength[:, pad - window : window - pad]
        first, last, share = _best_line(strength, floor, round(0.012 * length), waviness)
        if exact:
            first, last, share = _refined(strength, first, last, floor, waviness)
        at = first + (last - first) * (places - END) / (1 - 2 * END)
        difference = _beside(profiles, at + pad, -1, pad) - _beside(profiles, at + pad, 1, pad)
        common = np.median(difference, axis=0)
        step.append(float(np.mean(difference @ common > 0.6 * CLEAR_STEP * np.linalg.norm(common))))
        on_line = strength[np.arange(PROFILES), np.clip(np.rint(at).astype(int), 0, strength.shape[1] - 1)]
        sharpness.append(float(np.median(on_line / np.maximum(np.linalg.norm(difference, axis=1), CLEAR_STEP))))
        slope = (last - first) / (1 - 2 * END)
        near, far = first - slope * END - round(reach), first + slope * (1 - END) - round(reach)
        lines.append((start + near * outward, end + far * outward))
        support.append(share)
    corners = np.array([_meeting(lines[i - 1], lines[i]) for i in range(4)])
    limit = 0.2 * max(height, width)
    if not np.isfinite(corners).all() or (corners < -limit).any() or (corners > [width + limit, height + limit]).any():
        return None
    return Sides(corners, np.array(support), np.array(step), np.array(sharpness))


def _profiles(image, start, side, along, outward, places, offsets) -> np.ndarray:
    """Colours across a side, float32 (places, offsets, 3), each the mean of five neighbours along the side."""
    neighbours = np.linspace(-2, 2, 5)
    points = start + places[:, None, None, None] * side + offsets[None, :, None, None] * outward
    points = (points + neighbours[None, None, :, None] * along).reshape(len(places), -1, 2).astype(np.float32)
    colours = cv2.remap(image, points[..., 0], points[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return colours.reshape(len(places), len(offsets), 5, 3).mean(axis=2, dtype=np.float32)


def _strength(profiles: np.ndarray, window: int) -> np.ndarray:
    """RGB distance between the means of `window` pixels on both sides of each place, (places, offsets - 2 * window)."""
    sums = np.cumsum(np.pad(profiles, ((0, 0), (1, 0), (0, 0))), axis=1)
    means = (sums[:, window:] - sums[:, :-window]) / window
    # A window's pixels end before, or start behind, the pixel in the middle.
    difference = means[:, window + 1 :] - means[:, : -window - 1]
    return np.linalg.norm(difference, axis=2)


def _best_line(strength: np.ndarray, floor: float, close: int, waviness: int) -> tuple[float, float, float]:
    """Where the best line starts and ends (offset of the first and last profile), and its support.

    A worn edge may lie up to `waviness` pixels off its line. Of lines no more than `close` pixels apart, the strongest
    is taken; of others, the outermost with much support.
    """
    count, offsets = strength.shape
    padded = np.pad(strength, ((0, 0), (1, 1)), constant_values=np.inf)
    peak = (strength >= floor) & (strength >= padded[:, :-2]) & (strength >= padded[:, 2:])
    weight = np.where(peak, np.minimum(strength / (1.6 * floor), 1), 0).astype(np.float32)
    edge = cv2.dilate(weight, np.ones((1, 2 * waviness + 1), np.uint8))
    ends = np.arange(0, offsets, 2 if offsets > 15 else 1)
    share = np.linspace(0, 1, count)
    places = ends[:, None, None] * (1 - share) + ends[None, :, None] * share
    index = np.arange(count), np.rint(places).astype(int)
    support = edge[index].mean(axis=2)
    power = np.where(peak, strength, 0).astype(np.float32)
    power = cv2.dilate(power, np.ones((1, 2 * waviness + 1), np.uint8))[index].mean(axis=2)
    outermost = (ends[:, None] + ends[None, :]) / (2 * offsets)
    rivals = (support > 0.7 * support.max()) & (power > FAINTEST * power.max())
    standing = support + 0.6 * outermost * rivals
    first, last = ends[np.array(np.unravel_index(np.argmax(standing), support.shape))]
    # A shadow's rim lies close outside the card's edge, and is less sharp.
    line = first + (last - first) * share
    near = np.arange(-close, close + 1)
    index = np.clip(np.rint(line + near[:, None]).astype(int), 0, offsets - 1)
    shift = near[np.argmax(np.minimum(strength, 12 * floor)[np.arange(count), index].mean(axis=1))]
    best = edge[np.arange(count), np.clip(np.rint(line + shift).astype(int), 0, offsets - 1)]
    return float(first + shift), float(last + shift), float(best.mean())


def _refined(strength, first, last, floor, waviness) -> tuple[float, float, float]:
    """The line fitted to the sub-pixel peaks near a line, and the share of profiles that have one on it."""
    count, offsets = strength.shape
    share = np.linspace(0, 1, count)
    expected = first + (last - first) * share
    near = np.rint(expected).astype(int)[:, None] + np.arange(-2 - waviness, 3 + waviness)
    inner = np.clip(near, 1, offsets - 2)
    rows = np.arange(count)
    best = inner[rows, np.argmax(strength[rows[:, None], inner], axis=1)]
    before, middle, after = (strength[rows, best + shift] for shift in (-1, 0, 1))
    bend = before - 2 * middle + after
    at = best + np.where(bend < 0, np.clip(0.5 * (before - after) / np.minimum(bend, -1e-6), -1, 1), 0)
    strong = middle >= floor
    if strong.sum() < count // 4:
        return first, last, float(strong.mean())
    weight = strong.astype(np.float64)
    for _ in range(5):
        fit = np.polyfit(share, at, 1, w=weight + 1e-9)
        off = np.abs(at - np.polyval(fit, share))
        weight = strong / (1 + (off / (0.7 * waviness)) ** 2)
    return float(fit[1]), float(fit[0] + fit[1]), float(np.mean(strong & (off < 1 + waviness)))


def _beside(profiles: np.ndarray, at: np.ndarray, sign: int, pad: int) -> np.ndarray:
    """Colour of each profile beside the line, from 2 pixels off it to the profile's padding, (places, 3)."""
    steps = np.arange(2, max(5, pad))
    index = np.clip(np.rint(at)[:, None].astype(int) + sign * steps, 0, profiles.shape[1] - 1)
    return np.median(profiles[np.arange(len(profiles))[:, None], index], axis=1)


def _meeting(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Where two lines meet, each given by two points; not finite where they are parallel."""
    (p, q), (r, s) = one, other
    matrix = np.array([q - p, r - s]).T
    if abs(np.linalg.det(matrix)) < 1e-6 * np.linalg.norm(q - p) * np.linalg.norm(r - s):
        return np.full(2, np.nan)
    return p + np.linalg.solve(matrix, r - p)[0] * (q - p)

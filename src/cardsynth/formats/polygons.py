"""Converts masks to polygons that rasterise to exactly the same mask.

The polygon of a component follows the sides of its outermost pixels, clockwise around the component and anticlockwise
around its holes. A cut of zero width connects each hole to the outline on its left, along a row of the component's own
pixels. It runs there and back, so it encloses nothing.
"""

import numpy as np
from scipy.spatial import KDTree

TOP, RIGHT, BOTTOM, LEFT = range(4)  # sides of a pixel, in the order in which an outline follows them
CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])  # x and y of the corner where each side starts
NEAR, FAR = 0.05, 0.45  # coordinates within a pixel that stay in it whether they are rounded or truncated


def edge_polygons(mask: np.ndarray) -> list[np.ndarray]:
    """Returns polygons along the edges of a mask's pixels.

    The pixel in column 3 reaches from x = 3 to x = 4, as in COCO, and its centre is at 3.5. Rasterisers that fill the
    pixels whose centres lie inside, by the even-odd rule (pycocotools), reproduce the mask exactly.

    Args:
        mask: bool (H, W).

    Returns:
        int (V, 2), x and y, for each 8-connected component.
    """
    return [_simplify(steps[:, :2] + steps[:, 2:]) for steps in trace_outlines(mask)]


def pixel_polygon(mask: np.ndarray) -> np.ndarray:
    """Returns one polygon through the outermost pixels of a mask.

    Vertices in the pixel of column 3 lie at x = 3.05 (its left side) or x = 3.45 (its right side). Rasterisers that
    round or truncate coordinates and fill the outline's pixels too (OpenCV's fillPoly) reproduce the mask exactly. A
    mask of several components becomes one polygon: lines, which are drawn one pixel wide, connect them to the largest.

    Args:
        mask: bool (H, W), not empty.

    Returns:
        float (V, 2), x and y.
    """
    steps = _simplify(_connect(trace_outlines(mask)))
    return steps[:, :2] + np.where(steps[:, 2:], FAR, NEAR)


def trace_outlines(mask: np.ndarray) -> list[np.ndarray]:
    """Traces the closed outline of each 8-connected component.

    Args:
        mask: bool (H, W).

    Returns:
        int (N, 4) each. A step of an outline is the x and y of a pixel, and the corner of that pixel (0 or 1 across,
        0 or 1 down) where one of its sides starts.
    """
    inside = np.pad(mask, 1)
    width, sides = inside.shape[1], inside.size * 4
    successors = _successors(inside)
    inside = inside.ravel()
    starts, visited, cuts = [], set(), 0
    for start in list(successors):
        if start in visited:
            continue
        ring = _ring(successors, start)
        visited.update(ring)
        # Sides come in order of pixels: the first one of a component is a top side, that of a hole is the bottom side
        # of a pixel above it.
        if start % 4 == TOP:
            starts.append(start)
            continue
        index = min((i for i, side in enumerate(ring) if side % 4 == RIGHT), key=lambda i: ring[i] // 4 % width)
        last = first = ring[index] // 4
        while inside[first - 1]:
            first -= 1
        # Three extra steps cut the hole open: to the hole, back, and on along the outline. They start at corners of the
        # cut's end pixels; multiples of `sides` make their keys unique.
        corners = (first * 4 + TOP, last * 4 + RIGHT, first * 4 + TOP)
        to_hole, back, onward = (corner + (cuts * 3 + number) * sides for number, corner in enumerate(corners, start=1))
        outer, cuts = first * 4 + LEFT, cuts + 1
        detour = {to_hole: ring[index], ring[index - 1]: back, back: onward, onward: successors[outer]}
        successors |= {outer: to_hole, **detour}
    outlines = []
    for start in starts:
        pixel, side = np.divmod(np.array(_ring(successors, start)) % sides, 4)
        outlines.append(np.column_stack([pixel % width - 1, pixel // width - 1, CORNERS[side]]))
    return outlines


def _successors(inside: np.ndarray) -> dict[int, int]:
    """Maps each side that bounds the mask to the next one, as pixel * 4 + side, in order of pixels.

    inside: bool (H, W); its outermost rows and columns are False.
    """
    width, pixels = inside.shape[1], inside.ravel()
    outward, onward = (-width, 1, width, -1), (1, width, -1, -width)
    pairs = []
    for side in (TOP, RIGHT, BOTTOM, LEFT):
        pixel = np.flatnonzero(pixels)
        pixel = pixel[~pixels[pixel + outward[side]]]
        ahead = pixel + onward[side]
        diagonal = ahead + outward[side]
        straight_or_right = np.where(pixels[ahead], ahead * 4 + side, pixel * 4 + (side + 1) % 4)
        left = diagonal * 4 + (side - 1) % 4
        pairs.append(np.stack([pixel * 4 + side, np.where(pixels[diagonal], left, straight_or_right)]))
    pairs = np.concatenate(pairs, axis=1)
    return dict(pairs[:, np.argsort(pairs[0])].T.tolist())


def _ring(successors: dict[int, int], start: int) -> list[int]:
    ring, side = [start], successors[start]
    while side != start:
        ring.append(side)
        side = successors[side]
    return ring


def _connect(outlines: list[np.ndarray]) -> np.ndarray:
    """Joins outlines, int (N, 4), into one: detours from the longest lead to the others where they are nearest."""
    longest, *others = sorted(outlines, key=len, reverse=True)
    tree, detours = KDTree(longest[:, :2]), {}
    for outline in others:
        distances, indices = tree.query(outline[:, :2])
        nearest = distances.argmin()
        index = int(indices[nearest])
        detour = [np.roll(outline, -nearest, axis=0), outline[nearest : nearest + 1], longest[index : index + 1]]
        detours.setdefault(index, []).extend(detour)
    parts, done = [], 0
    for index in sorted(detours):
        parts += [longest[done : index + 1], *detours[index]]
        done = index + 1
    return np.concatenate([*parts, longest[done:]])


def _simplify(path: np.ndarray) -> np.ndarray:
    """Drops vertices of a closed path, int (N, K), that repeat the one before or lie on a straight line."""
    path = path[np.any(path != np.roll(path, 1, axis=0), axis=1)]
    steps = np.roll(path, -1, axis=0) - path
    steps //= np.gcd.reduce(steps, axis=1, keepdims=True)
    return path[np.any(steps != np.roll(steps, 1, axis=0), axis=1)]

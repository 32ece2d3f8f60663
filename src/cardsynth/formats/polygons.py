"""Masks as polygons that give the very mask back: one closed outline a component, its holes cut open to the outside.

An outline follows the sides of its outermost pixels, clockwise round a component and the other way round its holes. A
slit of no width joins each hole to the outline left of it, along a row of the component's own pixels: there and back
again, so that it bounds nothing.
"""

import numpy as np
from scipy.spatial import KDTree

TOP, RIGHT, BOTTOM, LEFT = range(4)  # sides of a pixel, in the order in which they are followed
CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])  # of a pixel, x and y: where each side starts
NEAR, FAR = 0.05, 0.45  # places within a pixel that stay in it whether they are rounded or cut off


def edge_polygons(mask: np.ndarray) -> list[np.ndarray]:
    """Polygons along the edges of a mask's pixels, int (V, 2) as x and y, one for each 8-connected component.

    mask: bool (H, W). The pixel in column 3 reaches from x = 3 to x = 4, as in COCO, and its centre is at 3.5: readers
    that take the pixels whose centres lie inside, by even and odd crossings (pycocotools), give the mask back exactly.
    """
    return [_without_straights(steps[:, :2] + steps[:, 2:]) for steps in trace_outlines(mask)]


def pixel_polygon(mask: np.ndarray) -> np.ndarray:
    """One polygon through the outermost pixels of a mask, float (V, 2) as x and y.

    mask: bool (H, W), not empty. The pixel in column 3 is met between x = 3.05 (its left side) and x = 3.45 (its
    right): readers that round coordinates, or cut them off, and fill with the outline's pixels (OpenCV's fillPoly) give
    the mask back exactly. A mask of several components becomes one polygon by lines to the largest of them, which such
    readers draw one pixel wide.
    """
    steps = _without_straights(_joined(trace_outlines(mask)))
    return steps[:, :2] + np.where(steps[:, 2:], FAR, NEAR)


def trace_outlines(mask: np.ndarray) -> list[np.ndarray]:
    """The closed outlines of a mask's 8-connected components, int (N, 4) each; mask: bool (H, W).

    A step of an outline is a pixel's x and y and the corner of it, 0 or 1 across and down, where one of its sides
    starts.
    """
    inside = np.pad(mask, 1)
    width, sides = inside.shape[1], inside.size * 4
    following = _following(inside)
    inside = inside.ravel()
    starts, seen, slits = [], set(), 0
    for start in list(following):
        if start in seen:
            continue
        ring = _ring(following, start)
        seen.update(ring)
        if start % 4 == TOP:  # the first side of a component; that of a hole is the bottom of a pixel above it
            starts.append(start)
            continue
        place = min((i for i, side in enumerate(ring) if side % 4 == RIGHT), key=lambda i: ring[i] // 4 % width)
        last = first = ring[place] // 4
        while inside[first - 1]:
            first -= 1
        slit = (first * 4 + TOP, last * 4 + RIGHT, first * 4 + TOP)  # sides that start at its ends: there, back, out
        there, back, end = (side + (slits * 3 + number) * sides for number, side in enumerate(slit, start=1))
        outer, slits = first * 4 + LEFT, slits + 1
        following |= {outer: there, there: ring[place], ring[place - 1]: back, back: end, end: following[outer]}
    found = []
    for start in starts:
        pixel, side = np.divmod(np.array(_ring(following, start)) % sides, 4)
        found.append(np.column_stack([pixel % width - 1, pixel // width - 1, CORNERS[side]]))
    return found


def _following(inside: np.ndarray) -> dict[int, int]:
    """Which side of which pixel comes after each side that bounds the mask, as pixel * 4 + side, in order of pixels.

    inside: bool (H, W), its outermost rows and columns False.
    """
    width, pixels = inside.shape[1], inside.ravel()
    outward, onward = (-width, 1, width, -1), (1, width, -1, -width)
    found = []
    for side in (TOP, RIGHT, BOTTOM, LEFT):
        pixel = np.flatnonzero(pixels)
        pixel = pixel[~pixels[pixel + outward[side]]]
        ahead = pixel + onward[side]
        aslant = ahead + outward[side]
        turned = np.where(pixels[ahead], ahead * 4 + side, pixel * 4 + (side + 1) % 4)
        found.append(np.stack([pixel * 4 + side, np.where(pixels[aslant], aslant * 4 + (side - 1) % 4, turned)]))
    pairs = np.concatenate(found, axis=1)
    return dict(pairs[:, np.argsort(pairs[0])].T.tolist())


def _ring(following: dict[int, int], start: int) -> list[int]:
    ring, side = [start], following[start]
    while side != start:
        ring.append(side)
        side = following[side]
    return ring


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """Outlines, int (N, 4), as one: the longest, from which a line leads to each other one where they are nearest."""
    longest, *others = sorted(parts, key=len, reverse=True)
    tree, detours = KDTree(longest[:, :2]), {}
    for part in others:
        distances, places = tree.query(part[:, :2])
        nearest = distances.argmin()
        place = int(places[nearest])
        detour = [np.roll(part, -nearest, axis=0), part[nearest : nearest + 1], longest[place : place + 1]]
        detours.setdefault(place, []).extend(detour)
    pieces, done = [], 0
    for place in sorted(detours):
        pieces += [longest[done : place + 1], *detours[place]]
        done = place + 1
    return np.concatenate([*pieces, longest[done:]])


def _without_straights(path: np.ndarray) -> np.ndarray:
    """A closed path, int (N, K), without points that repeat the one before or lie on the way straight to the next."""
    path = path[np.any(path != np.roll(path, 1, axis=0), axis=1)]
    steps = np.roll(path, -1, axis=0) - path
    steps //= np.gcd.reduce(steps, axis=1, keepdims=True)
    return path[np.any(steps != np.roll(steps, 1, axis=0), axis=1)]

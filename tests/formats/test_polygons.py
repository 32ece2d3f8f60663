"""Polygons give the very mask back in two rasterisers that are not ours."""

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from scipy import ndimage

from cardsynth.formats.polygons import edge_polygons, pixel_polygon

EIGHT = np.ones((3, 3))


def mask_of(*rows: str) -> np.ndarray:
    return np.array([[letter == "#" for letter in row] for row in rows])


def drawn_by_pycocotools(mask: np.ndarray) -> np.ndarray:
    polygons = [polygon.ravel().astype(float).tolist() for polygon in edge_polygons(mask)]
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, *mask.shape))).astype(bool)


def drawn_by_opencv(mask: np.ndarray, whole: np.ufunc) -> np.ndarray:
    picture = np.zeros(mask.shape, np.uint8)
    cv2.fillPoly(picture, [whole(pixel_polygon(mask)).astype(np.int32)], 1)
    return picture.astype(bool)


def random_masks(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    masks = [rng.random(rng.integers(1, 24, 2)) < rng.random() for _ in range(count)]
    masks += [ndimage.zoom(mask, 3, order=0) for mask in masks[: count // 4]]
    return [mask for mask in masks if mask.any()]


def test_every_mask_of_nine_pixels():
    for bits in range(1, 512):
        mask = (bits >> np.arange(9) & 1).astype(bool).reshape(3, 3)
        assert (drawn_by_pycocotools(mask) == mask).all(), mask
        if ndimage.label(mask, EIGHT)[1] == 1:
            assert (drawn_by_opencv(mask, np.round) == mask).all(), mask
            assert (drawn_by_opencv(mask, np.trunc) == mask).all(), mask


def test_random_masks_with_holes_in_holes():
    for mask in random_masks(400):
        assert (drawn_by_pycocotools(mask) == mask).all(), mask
        components, count = ndimage.label(mask, EIGHT)
        assert len(edge_polygons(mask)) == count
        largest = components == np.bincount(components[mask]).argmax()
        assert (drawn_by_opencv(largest, np.round) == largest).all(), largest
        assert (drawn_by_opencv(largest, np.trunc) == largest).all(), largest


@pytest.mark.parametrize(
    ("mask", "polygon"),
    [
        (mask_of("...", ".#."), [[1, 1], [2, 1], [2, 2], [1, 2]]),
        (mask_of("##.", "##."), [[0, 0], [2, 0], [2, 2], [0, 2]]),
        (mask_of("#.", ".#"), [[0, 0], [1, 0], [1, 1], [2, 1], [2, 2], [1, 2], [1, 1], [0, 1]]),
    ],
)
def test_outlines_follow_the_edges_of_pixels_and_have_no_needless_points(mask, polygon):
    (found,) = edge_polygons(mask)
    assert found.tolist() == polygon


def test_a_hole_is_cut_open_to_its_left():
    (found,) = edge_polygons(mask_of("####", "##.#", "####"))
    assert found.tolist() == [[0, 0], [4, 0], [4, 3], [0, 3], [0, 1], [2, 1], [2, 2], [3, 2], [3, 1], [0, 1]]


def test_components_far_apart_are_one_polygon_by_lines_a_pixel_wide():
    mask = np.zeros((20, 30), bool)
    mask[2:8, 2:8] = mask[10:14, 20:28] = mask[18, 1] = True
    for whole in (np.round, np.trunc):
        drawn = drawn_by_opencv(mask, whole)
        assert (drawn >= mask).all()
        assert (drawn & ~mask).sum() <= 25
    points = pixel_polygon(mask)
    assert points.min(axis=0).tolist() == pytest.approx([1.05, 2.05])
    assert points.max(axis=0).tolist() == pytest.approx([27.45, 18.45])

"""Exported data sets, read by tools that are not ours: boxes and masks are equal to the pixel."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import datasets
import numpy as np
import pytest
import supervision
import yaml
from pictures import png, speckled
from PIL import Image
from pycocotools.coco import COCO
from torchvision.datasets import CocoDetection, VOCDetection, VOCSegmentation, wrap_dataset_for_transforms_v2

from cardsynth.cards.folder import CardWriter
from cardsynth.formats.export import export_cards
from cardsynth.formats.instances import Rules

SIZE = (40, 30)
NAMES = ["FULL_CARD", "LIGHT", "SMALL"]
Damages = dict[str, list[tuple[str, np.ndarray]]]  # (category, mask) of each damage of a card, by file name


def shapes() -> dict[str, tuple[str, np.ndarray]]:
    """Label and mask of cards whose masks are hard to write."""
    rng = np.random.default_rng(3)
    masks = {name: np.zeros(SIZE, bool) for name in ("empty", "hole", "borders", "pixel", "aslant", "islands", "full")}
    masks["hole"][5:20, 4:24] = True
    masks["hole"][8:10, 8:20] = masks["hole"][12, 6] = masks["hole"][15:19, 5:23] = False
    masks["borders"][0, :] = masks["borders"][-5:, -7:] = masks["borders"][10:15, 0] = True
    masks["pixel"][0, 0] = masks["pixel"][39, 29] = masks["pixel"][20, 10] = True
    for step in range(8):
        masks["aslant"][10 + 2 * step : 12 + 2 * step, 3 + 2 * step : 5 + 2 * step] = True
    masks["islands"][2:30, 2:28] = True
    masks["islands"][5:25, 5:20] = False
    masks["islands"][10:15, 10:15] = True
    masks["full"][3:38, 2:16] = masks["full"][5:33, 20:29] = masks["full"][1, 25] = True
    masks["full"][8:12, 5:9] = False
    noise = {f"noise{density}": rng.random(SIZE) < density / 100 for density in (5, 30, 50, 70, 95)}
    labels = {"full": "FULL_CARD", "aslant": "LIGHT", "noise70": "LIGHT"}
    return {name: (labels.get(name, "SMALL"), mask) for name, mask in (masks | noise).items()}


def damages_by_opencv(label: str, mask: np.ndarray) -> list[tuple[str, np.ndarray]]:
    if label == "FULL_CARD":
        return [(label, mask)]
    count, components = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return [(label, components == number) for number in range(1, count)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Cards of those shapes as JPEG, and a clean one without a mask."""
    folder = tmp_path_factory.mktemp("cards") / "hard"
    with CardWriter(folder) as writer:
        for seed, (name, (label, mask)) in enumerate(shapes().items()):
            row = {"file_name": f"{label}/{name}.jpg", "mask_file_name": f"masks/{name}.png", "label": label}
            mask = Image.fromarray(mask.astype(np.uint8) * 255)
            writer.add(row, jpeg(seed), png(mask))
        writer.add({"file_name": "CLEAN/clean.jpg", "label": "CLEAN"}, jpeg(99))
    return folder


def jpeg(seed: int) -> bytes:
    return cv2.imencode(".jpg", np.asarray(speckled(seed, SIZE)))[1].tobytes()


@pytest.fixture(scope="module")
def expected() -> Damages:
    found = {f"{label}_{name}.jpg": damages_by_opencv(label, mask) for name, (label, mask) in shapes().items()}
    return found | {"CLEAN_clean.jpg": []}


@pytest.fixture
def exported(folder, tmp_path) -> Callable[..., Path]:
    def export(form: str, **how) -> Path:
        out = tmp_path / form
        export_cards(folder, out, form, **{"shares": (1,), "rules": Rules(least_area=1), **how})
        return out

    return export


def box_of(mask: np.ndarray) -> list[int]:
    """x, y of the first pixel and of the edge behind the last."""
    rows, columns = np.nonzero(mask)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def assert_same(found: Damages, expected: Damages, with_masks: bool = True) -> None:
    """Both hold the same damages, in any order; what is found are boxes where it has no masks."""

    def sorted_parts(damages: list[tuple[str, np.ndarray]], boxed: bool) -> list[tuple]:
        values = [(name, value if boxed else box_of(value) if not with_masks else value) for name, value in damages]
        return sorted((name, np.asarray(value).astype(int).tolist()) for name, value in values)

    assert found.keys() == expected.keys()
    for name, damages in expected.items():
        assert sorted_parts(found[name], boxed=not with_masks) == sorted_parts(damages, boxed=False), name


@pytest.mark.parametrize("segmentation", ["polygons", "rle"])
def test_coco_by_pycocotools(exported, expected, segmentation):
    coco = COCO(str(exported("coco", segmentation=segmentation) / "annotations/instances_train.json"))
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == NAMES
    found = {image["file_name"]: [] for image in coco.loadImgs(coco.getImgIds())}
    for annotation in coco.loadAnns(coco.getAnnIds()):
        mask = coco.annToMask(annotation).astype(bool)
        x, y, right, bottom = box_of(mask)
        assert annotation["bbox"] == [x, y, right - x, bottom - y]
        assert annotation["area"] == mask.sum()
        assert annotation["iscrowd"] == 0
        assert isinstance(annotation["segmentation"], list if segmentation == "polygons" else dict)
        image = coco.loadImgs(annotation["image_id"])[0]
        assert (image["height"], image["width"]) == SIZE
        found[image["file_name"]].append((NAMES[annotation["category_id"] - 1], mask))
    assert_same(found, expected)


@pytest.mark.parametrize("segmentation", ["polygons", "rle"])
def test_coco_by_torchvision(exported, expected, segmentation):
    out = exported("coco", segmentation=segmentation)
    plain = CocoDetection(str(out / "images/train"), str(out / "annotations/instances_train.json"))
    cards = wrap_dataset_for_transforms_v2(plain, target_keys=("boxes", "labels", "masks"))
    found = {}
    for index, (image, target) in enumerate(cards):
        assert image.size == SIZE[::-1]
        name = plain.coco.loadImgs(plain.ids[index])[0]["file_name"]
        masks = [mask.bool().numpy() for mask in target.get("masks", [])]
        assert [box.tolist() for box in target.get("boxes", [])] == [box_of(mask) for mask in masks]
        found[name] = [(NAMES[label - 1], mask) for label, mask in zip(target.get("labels", []), masks, strict=True)]
    assert_same(found, expected)


def by_supervision(cards: supervision.DetectionDataset, with_masks: bool) -> Damages:
    found = {}
    for path, _, detections in cards:
        values = [] if not len(detections) else detections.mask if with_masks else detections.xyxy.round(2)
        classes = [] if not len(detections) else detections.class_id
        found[Path(path).name] = [(cards.classes[c], value) for c, value in zip(classes, values, strict=True)]
    return found


def test_coco_by_supervision(exported, expected):
    out = exported("coco", segmentation="rle")
    where = str(out / "images/train"), str(out / "annotations/instances_train.json")
    assert_same(by_supervision(supervision.DetectionDataset.from_coco(*where, force_masks=True), True), expected)
    assert_same(by_supervision(supervision.DetectionDataset.from_coco(*where), False), expected, with_masks=False)


def yolo_by_supervision(out: Path, with_masks: bool) -> Damages:
    where = str(out / "images/train"), str(out / "labels/train"), str(out / "data.yaml")
    return by_supervision(supervision.DetectionDataset.from_yolo(*where, force_masks=with_masks), with_masks)


def test_yolo_by_supervision(exported, expected):
    out = exported("yolo")
    assert_same(yolo_by_supervision(out, with_masks=False), expected, with_masks=False)
    about = yaml.safe_load((out / "data.yaml").read_text())
    assert about == {"train": "images/train", "names": dict(enumerate(NAMES))}
    assert (out / "labels/train/CLEAN_clean.txt").read_text() == ""


def test_yolo_segment_by_supervision(exported, expected):
    found = yolo_by_supervision(exported("yolo-segment"), with_masks=True)
    ((_, joined),) = found.pop("FULL_CARD_full.jpg")
    assert_same(found, {name: damages for name, damages in expected.items() if name in found})
    ((_, parts),) = expected["FULL_CARD_full.jpg"]
    assert (joined >= parts).all()
    assert (joined & ~parts).sum() <= 14, "lines a pixel wide join its three parts"


def test_voc_by_torchvision_and_supervision(exported, expected, tmp_path):
    out = exported("voc")
    (tmp_path / "VOCdevkit").mkdir()
    (tmp_path / "VOCdevkit/VOC2012").symlink_to(out)
    found = {}
    for _, target in VOCDetection(str(tmp_path), year="2012", image_set="train"):
        about = target["annotation"]
        assert (int(about["size"]["height"]), int(about["size"]["width"]), about["size"]["depth"]) == (*SIZE, "3")
        boxes = [(one["name"], one["bndbox"]) for one in about.get("object", [])]
        found[about["filename"]] = [
            (name, [int(box["xmin"]) - 1, int(box["ymin"]) - 1, int(box["xmax"]), int(box["ymax"])])
            for name, box in boxes
        ]
    assert_same(found, expected, with_masks=False)
    cards = supervision.DetectionDataset.from_pascal_voc(str(out / "JPEGImages"), str(out / "Annotations"))
    assert_same(by_supervision(cards, with_masks=False), expected, with_masks=False)


def test_masks_by_torchvision(exported, expected, tmp_path):
    out = exported("masks", rules=Rules(least_area=1))
    (tmp_path / "VOCdevkit").mkdir()
    (tmp_path / "VOCdevkit/VOC2012").symlink_to(out)
    labels = [line.split(":") for line in (out / "labelmap.txt").read_text().splitlines()[1:]]
    assert [label[0] for label in labels] == ["background", *NAMES]
    found = {}
    for path, (_, mask) in zip(
        (out / "ImageSets/Segmentation/train.txt").read_text().splitlines(),
        VOCSegmentation(str(tmp_path), year="2012", image_set="train"),
        strict=True,
    ):
        classes = np.asarray(mask)
        objects = np.asarray(Image.open(out / f"SegmentationObject/{path}.png"))
        colours = np.asarray(mask.convert("RGB"))
        for number, label in enumerate(labels):
            assert (colours[classes == number] == list(map(int, label[1].split(",")))).all()
        damages = [objects == number for number in range(1, objects.max() + 1)]
        for damage in damages:
            assert len(set(classes[damage])) == 1
        found[f"{path}.jpg"] = [(NAMES[classes[damage][0] - 1], damage) for damage in damages]
        assert ((classes > 0) == (objects > 0)).all()
    assert_same(found, expected)


def test_hub_by_datasets(exported, expected, folder, monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    out = exported("hub", shares=(0.6, 0.2, 0.2))
    cards = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert list(cards) == ["train", "validation", "test"]
    features = cards["train"].features
    assert features["objects"]["category"].feature == datasets.ClassLabel(names=NAMES)
    assert features["label"] == datasets.ClassLabel(names=["CLEAN", *NAMES])
    found, union = {}, {}
    for part in cards.values():
        for row, raw in zip(part, part.cast_column("image", datasets.Image(decode=False)), strict=True):
            name = row["file_name"].replace("/", "_")
            assert (row["height"], row["width"]) == SIZE == row["image"].size[::-1]
            assert raw["image"]["bytes"] == (folder / row["file_name"]).read_bytes()
            objects = row["objects"]
            found[name] = [
                (NAMES[category], [x, y, x + width, y + height])
                for category, (x, y, width, height) in zip(objects["category"], objects["bbox"], strict=True)
            ]
            areas = [mask.sum() for _, mask in expected[name]]
            assert sorted(objects["area"]) == sorted(areas)
            union[name] = np.asarray(row["mask"])
    assert_same(found, expected, with_masks=False)
    for name, damages in expected.items():
        both = np.any([np.zeros(SIZE, bool), *(mask for _, mask in damages)], axis=0)
        assert (union[name] == np.where(both, 255, 0)).all()


def test_splits_are_the_same_in_every_format(exported):
    parts = [
        json.loads((exported(form, shares=(0.6, 0.2, 0.2)) / "export.json").read_text())["splits"]
        for form in ("coco", "yolo", "voc", "masks", "hub")
    ]
    assert all(part == parts[0] for part in parts)
    assert [len(files) for files in parts[0].values()] == [8, 3, 2]

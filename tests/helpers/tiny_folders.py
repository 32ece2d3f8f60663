"""A tiny run folder and a tiny card folder for tests, and what is in a folder."""

import json
from pathlib import Path

from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from PIL import Image


def write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value))


def make_run(folder: Path, labels: tuple[str, ...] = (), mask: bool = False) -> Path:
    channels = 4 if mask else 3
    unet = UNet2DModel(
        sample_size=(16, 8),
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        num_class_embeds=len(labels) + 1 if labels else None,
    )
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(folder)
    write_json(folder / "settings.json", {"height": 16, "width": 8, "learning_rate": 1e-4})
    data = {"source": "/home/alice/scans", "count": 1234, "classes": dict.fromkeys(labels, 617), "fingerprint": "f00"}
    manifest = {"labels": list(labels), "mask": mask, "height": 16, "width": 8, "data": data, "steps": 5000}
    manifest |= {"versions": {"torch": "2.14.1"}, "machine": "a|laptop", "wall_time_s": 3725.4, "parameters": 12345}
    write_json(folder / "manifest.json", manifest)
    for epoch in (20, 100):
        (folder / "samples").mkdir(exist_ok=True)
        Image.new("RGB", (8, 16), (epoch, 0, 0)).save(folder / "samples" / f"epoch_{epoch:02d}.png")
    for left_out in ("checkpoints/step_000001/x.bin", "tensorboard/events", ".settings.json.tmp", "samples/a.png.part"):
        (folder / left_out).parent.mkdir(parents=True, exist_ok=True)
        (folder / left_out).write_bytes(b"not for the Hub")
    return folder


def make_cards(folder: Path) -> Path:
    rows = []
    for seed, label in enumerate(("FULL_CARD", "SMALL")):
        row = {"file_name": f"{label}/{seed:06d}.png", "mask_file_name": f"masks/{label}/{seed:06d}.png"}
        row |= {"label": label, "seed": seed, "objects": {"bbox": [[0, 0, 2, 2]], "categories": [label]}}
        for key, mode in (("file_name", "RGB"), ("mask_file_name", "L")):
            (folder / row[key]).parent.mkdir(parents=True, exist_ok=True)
            Image.new(mode, (8, 16), 255 * seed if mode == "L" else (seed, 7, 9)).save(folder / row[key])
        rows.append(row)
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / ".cardsynth/0-0").mkdir(parents=True)
    (folder / ".cardsynth/0-0/pixels").write_bytes(b"prepared, and not for the Hub")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def uploaded_part(folder: Path) -> dict[str, bytes]:
    left_out = ("checkpoints/", "tensorboard/", ".settings.json.tmp", "samples/a.png.part", ".cardsynth/")
    return {name: content for name, content in contents(folder).items() if not name.startswith(left_out)}

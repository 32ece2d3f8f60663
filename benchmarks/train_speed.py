"""Measures training steps a second: ours, the diffusers tutorial's loop and denoising-diffusion-pytorch, on one net.

Every contender trains the same RGB net of the demo's widths on the same drawn cards of 80x64, batch 16, in a process of
its own and with its own defaults for threads; they take turns. Ours also logs every step and keeps averaged weights;
denoising-diffusion-pytorch keeps averaged weights too, the tutorial does not.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

SIZE, BATCH = (80, 64), 16
CONTENDERS = {
    "cardsynth, auto precision": "ours auto",
    "diffusers tutorial loop, auto precision": "tutorial auto",
    "denoising-diffusion-pytorch, its default (float32)": "peer no",
    "denoising-diffusion-pytorch, amp bf16": "peer bf16",
    "cardsynth, float32": "ours no",
    "diffusers tutorial loop, float32": "tutorial no",
}


def our_steps(folder: Path, precision: str) -> Callable[[int], None]:
    """Take so many steps of `train`, run folder and log included."""
    from cardsynth.cards.dataset import read_cards
    from cardsynth.models import get_preset, train

    config = get_preset("demo").replace(
        patch_size=1,
        attention_levels=(3,),
        resnet_time_scale_shift="default",
        prediction_type="epsilon",
        use_masks=False,
        use_labels=False,
        train_batch_size=BATCH,
        max_train_steps=10_000,
        save_image_epochs=10_000,
        save_model_epochs=10_000,
        mixed_precision=precision,
    )
    steps = train(config, read_cards(folder, config.reading), folder.parent / f"run_{os.getpid()}")
    return lambda count: [next(steps) for _ in range(count)]


def tutorial_steps(folder: Path, precision: str) -> Callable[[int], None]:
    """Take so many steps of the tutorial's loop."""
    import torch  # before cardsynth, which would choose how PyTorch's threads wait
    import tutorial

    if precision == "no":
        tutorial.resolve_precision = lambda *_: "no"
    net = tutorial.tutorial_net(SIZE, tutorial.SMALL_NET)
    torch.manual_seed(0)
    steps = tutorial.tutorial_steps(net, tutorial.tutorial_loader(folder, SIZE, BATCH), 10_000)
    return lambda count: [next(steps) for _ in range(count)]


def peer_steps(folder: Path, precision: str) -> Callable[[int], None]:
    """Take so many steps of denoising-diffusion-pytorch's Trainer."""
    import torch  # before cardsynth, which would choose how PyTorch's threads wait
    import tutorial
    from denoising_diffusion_pytorch import GaussianDiffusion, Trainer

    class Net(torch.nn.Module):
        channels = out_dim = 3
        self_condition = False

        def __init__(self) -> None:
            super().__init__()
            self.unet = tutorial.tutorial_net(SIZE, tutorial.SMALL_NET)

        def forward(self, images: torch.Tensor, timesteps: torch.Tensor, _: object) -> torch.Tensor:
            return self.unet(images, timesteps).sample

    trainer = Trainer(
        GaussianDiffusion(Net(), image_size=SIZE, objective="pred_noise", beta_schedule="linear"),
        folder,
        train_batch_size=BATCH,
        save_and_sample_every=10**9,
        results_folder=folder.parent / f"peer_{os.getpid()}",
        calculate_fid=False,
        amp=precision != "no",
        mixed_precision_type="bf16",
    )

    def take(count: int) -> None:
        trainer.train_num_steps = trainer.step + count
        trainer.train()

    return take


def measure(contender: str, folder: Path, steps: int) -> float:
    """Seconds a step in this process, after three that warm up."""
    kind, precision = contender.split()
    take = {"ours": our_steps, "tutorial": tutorial_steps, "peer": peer_steps}[kind](folder, precision)
    take(3)
    begun = time.perf_counter()
    take(steps)
    return (time.perf_counter() - begun) / steps


def in_own_process(contender: str, folder: Path, steps: int) -> float:
    """Seconds a step in a new process."""
    command = [sys.executable, __file__, "--contender", contender, "--cards", str(folder), "--steps", str(steps)]
    said = subprocess.run(command, capture_output=True, text=True)
    if said.returncode:
        sys.exit(f"{contender} failed:\n{said.stderr[-2000:]}")
    return float(said.stdout.strip().splitlines()[-1])


def main() -> None:
    """Measure every contender in turns, print the table, and write it as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    parser.add_argument("--rounds", type=int, default=3, help="how often each contender is measured")
    parser.add_argument("--steps", type=int, default=40, help="steps that are timed each time")
    parser.add_argument("--contender", help="measure this one here, and print its seconds a step")
    parser.add_argument("--cards", type=Path, help="with --contender: folder of cards")
    arguments = parser.parse_args()
    if arguments.contender:
        print(measure(arguments.contender, arguments.cards, arguments.steps))
        return
    from cardsynth.render.draw import render_cards
    from cardsynth.util.environment import describe_environment

    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory() as temporary:
        folder = render_cards(Path(temporary) / "cards", 400, SIZE, styles=("a",))
        for mask in folder.glob("masks/*/*.png"):  # which a contender that reads all pictures would take for cards
            mask.unlink()
        (folder / "metadata.jsonl").unlink()
        for _ in range(arguments.rounds):
            for name, contender in CONTENDERS.items():
                seconds[name].append(in_own_process(contender, folder, arguments.steps))
    ours = statistics.median(seconds["cardsynth, auto precision"])
    rows = [
        {
            "contender": name,
            "seconds_a_step": statistics.median(values),
            "least": min(values),
            "most": max(values),
            "ours_is_faster_by": statistics.median(values) / ours,
        }
        for name, values in seconds.items()
    ]
    print(f"{'contender':<52} {'s/step':>8} {'least':>8} {'most':>8} {'ours is faster by':>18}")
    for row in rows:
        name, *figures = row.values()
        print(f"{name:<52} {figures[0]:>8.3f} {figures[1]:>8.3f} {figures[2]:>8.3f} {figures[3]:>18.2f}")
    if arguments.json:
        result = {"batch": BATCH, "size": SIZE, "rounds": arguments.rounds, "steps": arguments.steps, "results": rows}
        arguments.json.write_text(json.dumps({**describe_environment(), **result}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

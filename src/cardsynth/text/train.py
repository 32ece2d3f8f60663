"""Fine-tuning Stable Diffusion on captioned cards, as a generator of small steps."""

from collections.abc import Iterator
from pathlib import Path

from cardsynth.core.recorder import TrainingStep
from cardsynth.core.training import take_steps
from cardsynth.text.config import TextConfig
from cardsynth.text.trainer import TextTrainer


def train_text(
    config: TextConfig, source: str | Path, run: str | Path, *, resume: bool = False, overwrite: bool = False
) -> Iterator[TrainingStep]:
    """Fine-tune a base model on the captioned pictures of a card folder or Hub id, yielding after each optimiser step.

    The run folder gets settings, manifest, log, sample grids by step from fixed seeds (step 0: the base model),
    checkpoints, and what was trained: adapters as `pytorch_lora_weights.safetensors`, or of method full the whole
    pipeline with averaged weights. Closing the generator saves a checkpoint first; with `resume` a run goes on from its
    last checkpoint, and ends with the weights of an unbroken one. Raises CardError for captions or pictures that will
    not do, TextModelError for the base model, RunError for a folder that is taken or does not fit, and TrainingError
    for a loss that is not finite or rises far above what it was before training, memory that does not suffice, and
    files that cannot be written.
    """
    yield from take_steps(TextTrainer(config, source, Path(run), resume, overwrite))

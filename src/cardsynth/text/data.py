"""Captioned pictures for fine-tuning: buckets of one area, and a cache of latents and text embeddings."""

import hashlib
import io
import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import PIL
import torch
from diffusers import DiffusionPipeline
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from tqdm.auto import tqdm

from cardsynth.cards.dataset import normalize
from cardsynth.cards.fitting import fit_image, read_image
from cardsynth.cards.folder import CardError
from cardsynth.cards.hub_rows import file_of, open_cards
from cardsynth.evaluation.features import cache_folder, save_tensors
from cardsynth.text.captions import check_captions
from cardsynth.text.model import encode_prompts, most_tokens, native_side, pixel_multiple, text_encoders, tokenizers
from cardsynth.util.hashing import hash_weights

AREA = 1 / 8  # largest relative difference between the area of a bucket and that of the model
Size = tuple[int, int]


@dataclass(frozen=True)
class CaptionedPictures:
    """Pictures with captions, each with the bucket that it is fitted into.

    Attributes:
        names: File names.
        captions: Captions.
        files: The files, or their content.
        digests: SHA-256 of each file.
        buckets: Bucket (height, width) of each picture.
        fit: How a picture fits its bucket: `crop` or `pad`.
        source: Card folder, or id of the data set on the Hub.
        enlarged: Number of pictures that are smaller than their bucket.
        cropped: Largest share of a picture that `crop` cuts off, or of a bucket that `pad` fills.
    """

    names: tuple[str, ...]
    captions: tuple[str, ...]
    files: tuple[Path | io.BytesIO, ...]
    digests: tuple[str, ...]
    buckets: tuple[Size, ...]
    fit: str
    source: str
    enlarged: int
    cropped: float

    def __len__(self) -> int:
        return len(self.names)

    @property
    def bucket_counts(self) -> dict[Size, int]:
        """Number of pictures of each bucket, in descending order."""
        return dict(Counter(self.buckets).most_common())

    @cached_property
    def fingerprint(self) -> str:
        """Hash of pictures, captions and how they are fitted."""
        rows = sorted(zip(self.digests, self.captions, self.buckets, strict=True))
        return hashlib.sha256(repr((self.fit, rows)).encode()).hexdigest()[:16]

    def pixels(self, index: int) -> torch.Tensor:
        """Returns a picture, fitted into its bucket, as uint8 (3, H, W)."""
        file = self.files[index]
        image = read_image(file, self.names[index] if isinstance(file, io.BytesIO) else str(file))
        fitted = fit_image(image, self.buckets[index], self.fit, portrait=False)
        return torch.from_numpy(np.ascontiguousarray(fitted.transpose(2, 0, 1)))

    def first(self, count: int) -> torch.Tensor:
        """Returns the first pictures of the most common bucket, uint8 (N, 3, H, W)."""
        common = next(iter(self.bucket_counts))
        chosen = [index for index, bucket in enumerate(self.buckets) if bucket == common][:count]
        return torch.stack([self.pixels(index) for index in chosen])

    def text(self) -> str:
        """Returns counts, buckets and the effect of fitting, in a few lines."""
        effect = "is cut off" if self.fit == "crop" else "is filled"
        lines = [f"{len(self)} captioned pictures, {len(set(self.captions))} different captions"]
        lines += [f"{height:>6}x{width} {count:6d}" for (height, width), count in self.bucket_counts.items()]
        lines.append(f"at most {self.cropped:.1%} of a picture {effect}; {self.enlarged} are enlarged")
        return "\n".join(lines)


def make_buckets(side: int, multiple: int) -> list[Size]:
    """Lists sizes (height, width) whose area differs from that of a square by an eighth at most.

    Args:
        side: Side of the square in pixels.
        multiple: Heights and widths are multiples of it.

    Raises:
        ValueError: There is no such size.
    """
    sides = range(multiple, 2 * side + 1, multiple)
    sizes = [(height, width) for height in sides for width in sides if abs(height * width / side**2 - 1) <= AREA]
    if not sizes:
        raise ValueError(f"resolution {side} does not fit the model, whose sizes are multiples of {multiple}")
    return sizes


def choose_bucket(size: Size, buckets: Sequence[Size]) -> Size:
    """Returns the bucket of the aspect ratio nearest to that of a size (height, width); of several, the largest."""
    return min(buckets, key=lambda bucket: (_stretch(size, bucket), -bucket[0] * bucket[1]))


def _stretch(size: Size, bucket: Size) -> float:
    return round(abs(math.log(size[0] / size[1] * bucket[1] / bucket[0])), 9)


def read_captioned(
    source: str | Path, pipeline: DiffusionPipeline, resolution: int | None = None, fit: str = "crop"
) -> CaptionedPictures:
    """Reads captioned pictures and assigns each to a bucket; pictures are decoded later.

    Args:
        source: Card folder, or id of a data set on the Hub.
        pipeline: The base model.
        resolution: Side of the square whose area all buckets have; None: that of the model.
        fit: How a picture fits its bucket: `crop` or `pad`.

    Raises:
        CardError: A caption is missing, empty or too long for the model, or a file is no picture; the message names
            the file and the remedy.
    """
    rows = open_cards(source)
    names, captions = list(rows["file_name"][:]), list(rows["text"][:])
    problems = check_captions(dict(zip(names, captions, strict=True)), tokenizers(pipeline), most_tokens(pipeline))
    errors = [problem for problem in problems if problem.level == "error"]
    if errors:
        first, more = errors[0], len(errors) - 1
        others = f" (and {more} more: cardsynth check {source} --captions lists them)" if more else ""
        raise CardError(f"{source}: {first.file} {first.reason}; {first.remedy}{others}")
    buckets = make_buckets(resolution or native_side(pipeline), pixel_multiple(pipeline))
    files = [file_of(image) for image in rows["image"][:]]
    sizes = [_size_of(file, name) for file, name in zip(files, names, strict=True)]
    chosen = [choose_bucket(size, buckets) for size in sizes]
    return CaptionedPictures(
        names=tuple(names),
        captions=tuple(caption.strip() for caption in captions),
        files=tuple(files),
        digests=tuple(hashlib.sha256(_bytes_of(file)).hexdigest() for file in files),
        buckets=tuple(chosen),
        fit=fit,
        source=str(source),
        enlarged=sum(height < at[0] or width < at[1] for (height, width), at in zip(sizes, chosen, strict=True)),
        cropped=max(1 - math.exp(-_stretch(size, at)) for size, at in zip(sizes, chosen, strict=True)),
    )


def _size_of(file: Path | io.BytesIO, name: str) -> Size:
    """Height and width of a picture as displayed, read from its header if possible."""
    with suppress(Exception), Image.open(file) as image:
        rotated = image.getexif().get(0x0112, 1) >= 5
        return (image.width, image.height) if rotated else (image.height, image.width)
    image = read_image(file, name if isinstance(file, io.BytesIO) else str(file))
    return image.height, image.width


def _bytes_of(file: Path | io.BytesIO) -> bytes:
    return file.getvalue() if isinstance(file, io.BytesIO) else file.read_bytes()


@torch.no_grad()
def encode_pictures(
    pipeline: DiffusionPipeline, pictures: CaptionedPictures, device: torch.device
) -> list[torch.Tensor]:
    """Encodes pictures by the VAE; results are cached by picture, bucket, fit and VAE, which ends on the CPU.

    Args:
        pipeline: The base model.
        pictures: The pictures.
        device: Device to encode on.

    Returns:
        Mean and standard deviation of the latents of each picture, scaled for the U-Net, float32 (2, C, h, w), on the
        CPU.
    """
    vae = pipeline.vae
    scale, shift = vae.config.scaling_factor, vae.config.shift_factor or 0.0
    encoder = f"{hash_weights(vae.state_dict())} {scale} {shift} {PIL.__version__}"

    def encode(index: int) -> torch.Tensor:
        vae.to(device)
        images = normalize(pictures.pixels(index)[None].to(device))
        latents = vae.encode(images).latent_dist
        return torch.cat([(latents.mean - shift) * scale, latents.std * scale]).cpu()

    keys = [
        f"latents {encoder} {digest} {bucket} {pictures.fit}"
        for digest, bucket in zip(pictures.digests, pictures.buckets, strict=True)
    ]
    encoded = [
        _cached(key, lambda index=index: {"latents": encode(index)})["latents"]
        for index, key in enumerate(tqdm(keys, "Encoding pictures", unit="picture", leave=False))
    ]
    vae.to("cpu")
    return encoded


@torch.no_grad()
def encode_captions(
    pipeline: DiffusionPipeline, captions: Sequence[str], device: torch.device
) -> dict[str, dict[str, torch.Tensor]]:
    """Encodes captions by the text encoders; results are cached by caption and encoders, which end on the CPU.

    Args:
        pipeline: The base model.
        captions: Captions.
        device: Device to encode on.

    Returns:
        By caption, the embeddings of `encode_prompts` without the batch dimension, on the CPU.
    """
    encoders = text_encoders(pipeline).values()
    encoder_key = " ".join(f"{hash_weights(encoder.state_dict())} {encoder.dtype}" for encoder in encoders)

    def encode(caption: str) -> dict[str, torch.Tensor]:
        for encoder in encoders:
            encoder.to(device)
        embeddings = encode_prompts(pipeline, [caption], device)
        return {name: value[0].cpu().clone() for name, value in embeddings.items()}

    bar = tqdm(list(dict.fromkeys(captions)), "Encoding captions", unit="caption", leave=False)
    encoded = {text: _cached(f"text {encoder_key} {text}", lambda text=text: encode(text)) for text in bar}
    for encoder in encoders:
        encoder.to("cpu")
    return encoded


def _cached(key: str, make: Callable[[], dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Tensors of the cache; if they are missing or damaged, made and stored."""
    path = cache_folder() / "text" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"
    try:
        return load_file(path)
    except (OSError, SafetensorError):
        tensors = make()
        save_tensors(tensors, path)
        return tensors


@lru_cache(maxsize=4)
def epoch_batches(seed: int, epoch: int, buckets: tuple[Size, ...], batch_size: int) -> list[list[int]]:
    """Returns the batches of a pass over all pictures, in random order, each batch from one bucket.

    The sizes of a bucket's batches differ by one at most, so that no batch is a small remainder.

    Args:
        seed: Seed of the order.
        epoch: Number of the pass, from 0.
        buckets: Bucket of each picture.
        batch_size: Largest number of pictures in a batch.

    Returns:
        Indices of the pictures of each batch.
    """
    rng, batches = np.random.default_rng([seed, 2, epoch]), []
    for bucket in sorted(set(buckets)):
        indices = rng.permutation([index for index, other in enumerate(buckets) if other == bucket])
        batches += [part.tolist() for part in np.array_split(indices, math.ceil(len(indices) / batch_size))]
    return [batches[index] for index in rng.permutation(len(batches))]


def batch_at(seed: int, index: int, buckets: tuple[Size, ...], batch_size: int) -> list[int]:
    """Returns batch `index` (from 0) of endless passes, as `epoch_batches`; depends on its arguments alone."""
    in_epoch = len(epoch_batches(seed, 0, buckets, batch_size))
    return epoch_batches(seed, index // in_epoch, buckets, batch_size)[index % in_epoch]

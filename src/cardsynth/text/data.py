"""Captioned pictures for fine-tuning: fitted into buckets of one area, their latents and text embeddings kept."""

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

AREA = 1 / 8  # by which a bucket's area may differ from the model's
Size = tuple[int, int]


@dataclass(frozen=True)
class CaptionedPictures:
    """Pictures with captions, and the bucket (height, width) that each is fitted into; `fit` says how.

    digests: SHA-256 of each file. enlarged: how many are smaller than their bucket. cropped: largest share of a picture
    that falls off (of fit crop) or is filled up (of pad).
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
        """Number of pictures of each bucket, the most common first."""
        return dict(Counter(self.buckets).most_common())

    @cached_property
    def fingerprint(self) -> str:
        """Hash of pictures, captions and how they are fitted."""
        rows = sorted(zip(self.digests, self.captions, self.buckets, strict=True))
        return hashlib.sha256(repr((self.fit, rows)).encode()).hexdigest()[:16]

    def pixels(self, index: int) -> torch.Tensor:
        """A picture as uint8 (3, H, W), fitted into its bucket."""
        file = self.files[index]
        image = read_image(file, self.names[index] if isinstance(file, io.BytesIO) else str(file))
        fitted = fit_image(image, self.buckets[index], self.fit, portrait=False)
        return torch.from_numpy(np.ascontiguousarray(fitted.transpose(2, 0, 1)))

    def first(self, count: int) -> torch.Tensor:
        """The first pictures of the most common bucket, uint8 (N, 3, H, W)."""
        common = next(iter(self.bucket_counts))
        chosen = [index for index, bucket in enumerate(self.buckets) if bucket == common][:count]
        return torch.stack([self.pixels(index) for index in chosen])

    def text(self) -> str:
        """Counts, buckets, and what fitting does to the pictures, in a few lines."""
        what = "falls off" if self.fit == "crop" else "is filled up"
        lines = [f"{len(self)} captioned pictures, {len(set(self.captions))} different captions"]
        lines += [f"{height:>6}x{width} {count:6d}" for (height, width), count in self.bucket_counts.items()]
        lines.append(f"at most {self.cropped:.1%} of a picture {what}; {self.enlarged} are enlarged")
        return "\n".join(lines)


def make_buckets(side: int, multiple: int) -> list[Size]:
    """Sizes (height, width), multiples of `multiple`, whose area differs from side * side by an eighth at most.

    Raises ValueError where there is none.
    """
    sides = range(multiple, 2 * side + 1, multiple)
    sizes = [(height, width) for height in sides for width in sides if abs(height * width / side**2 - 1) <= AREA]
    if not sizes:
        raise ValueError(f"resolution {side} does not fit the model, whose sizes are multiples of {multiple}")
    return sizes


def choose_bucket(size: Size, buckets: Sequence[Size]) -> Size:
    """The bucket whose shape is nearest to that of a picture of (height, width); of equal ones the largest."""
    return min(buckets, key=lambda bucket: (_stretch(size, bucket), -bucket[0] * bucket[1]))


def _stretch(size: Size, bucket: Size) -> float:
    return round(abs(math.log(size[0] / size[1] * bucket[1] / bucket[0])), 9)


def read_captioned(
    source: str | Path, pipeline: DiffusionPipeline, resolution: int | None = None, fit: str = "crop"
) -> CaptionedPictures:
    """Captioned pictures of a card folder or a data set on the Hub, each with its bucket.

    resolution: side of the square whose area all keep; None: the model's own. Pictures are opened, not yet decoded.
    Raises CardError, naming the file and the remedy, for captions that are missing, empty or too long for the model,
    and for what is no picture.
    """
    rows = open_cards(source)
    names, captions = list(rows["file_name"][:]), list(rows["text"][:])
    found = check_captions(dict(zip(names, captions, strict=True)), tokenizers(pipeline), most_tokens(pipeline))
    errors = [problem for problem in found if problem.level == "error"]
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
        enlarged=sum(min(size[0] / at[0], size[1] / at[1]) < 1 for size, at in zip(sizes, chosen, strict=True)),
        cropped=max(1 - math.exp(-_stretch(size, at)) for size, at in zip(sizes, chosen, strict=True)),
    )


def _size_of(file: Path | io.BytesIO, name: str) -> Size:
    """Height and width of a picture as it is seen, read from its header where that suffices."""
    with suppress(Exception), Image.open(file) as image:
        turned = image.getexif().get(0x0112, 1) >= 5
        return (image.width, image.height) if turned else (image.height, image.width)
    image = read_image(file, name if isinstance(file, io.BytesIO) else str(file))
    return image.height, image.width


def _bytes_of(file: Path | io.BytesIO) -> bytes:
    return file.getvalue() if isinstance(file, io.BytesIO) else file.read_bytes()


@torch.no_grad()
def encode_pictures(
    pipeline: DiffusionPipeline, pictures: CaptionedPictures, device: torch.device
) -> list[torch.Tensor]:
    """Mean and deviation of each picture's latents, float32 (2, C, h, w) on the CPU, scaled as the U-Net takes them.

    They are kept in the cache by picture, bucket, fit and VAE, so that only what is new is encoded. The VAE lies on the
    CPU afterwards.
    """
    vae = pipeline.vae
    scale, shift = vae.config.scaling_factor, vae.config.shift_factor or 0.0
    of_vae = f"{digest_of(vae)} {scale} {shift} {PIL.__version__}"

    def encode(index: int) -> torch.Tensor:
        vae.to(device)
        images = normalize(pictures.pixels(index)[None].to(device))
        latents = vae.encode(images).latent_dist
        return torch.cat([(latents.mean - shift) * scale, latents.std * scale]).cpu()

    keys = [
        f"latents {of_vae} {digest} {bucket} {pictures.fit}"
        for digest, bucket in zip(pictures.digests, pictures.buckets, strict=True)
    ]
    found = [
        _kept(key, lambda index=index: {"latents": encode(index)})["latents"]
        for index, key in enumerate(tqdm(keys, "Encoding pictures", unit="picture", leave=False))
    ]
    vae.to("cpu")
    return found


@torch.no_grad()
def encode_captions(
    pipeline: DiffusionPipeline, captions: Sequence[str], device: torch.device
) -> dict[str, dict[str, torch.Tensor]]:
    """What `encode_prompts` gives of each caption, on the CPU, kept in the cache by caption and text encoders.

    The text encoders lie on the CPU afterwards.
    """
    encoders = text_encoders(pipeline).values()
    of_encoders = " ".join(f"{digest_of(encoder)} {encoder.dtype}" for encoder in encoders)

    def encode(caption: str) -> dict[str, torch.Tensor]:
        for encoder in encoders:
            encoder.to(device)
        told = encode_prompts(pipeline, [caption], device)
        return {name: value[0].cpu().clone() for name, value in told.items()}

    unique = list(dict.fromkeys(captions))
    bar = tqdm(unique, "Encoding captions", unit="caption", leave=False)
    found = {one: _kept(f"text {of_encoders} {one}", lambda one=one: encode(one)) for one in bar}
    for encoder in encoders:
        encoder.to("cpu")
    return found


def digest_of(net: torch.nn.Module) -> str:
    """Hash of a net's weights."""
    digest = hashlib.sha256()
    for name, value in sorted(net.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _kept(key: str, make: Callable[[], dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Tensors of the cache, or made and put there."""
    path = cache_folder() / "text" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"
    try:
        return load_file(path)
    except (OSError, SafetensorError):  # not there, or cut short
        made = make()
        save_tensors(made, path)
        return made


@lru_cache(maxsize=4)
def epoch_batches(seed: int, epoch: int, buckets: tuple[Size, ...], batch_size: int) -> list[list[int]]:
    """The batches of a pass over all pictures, each of one bucket, in random order; together each picture once.

    Batches of a bucket differ in size by one at most, so that none is a small rest.
    """
    rng, batches = np.random.default_rng([seed, 2, epoch]), []
    for bucket in sorted(set(buckets)):
        places = rng.permutation(np.flatnonzero([one == bucket for one in buckets]))
        batches += [part.tolist() for part in np.array_split(places, math.ceil(len(places) / batch_size))]
    return [batches[index] for index in rng.permutation(len(batches))]


def batch_at(seed: int, index: int, buckets: tuple[Size, ...], batch_size: int) -> list[int]:
    """Batch `index` (from 0) of endless passes over all pictures: a function of its arguments alone."""
    in_epoch = len(epoch_batches(seed, 0, buckets, batch_size))
    return epoch_batches(seed, index // in_epoch, buckets, batch_size)[index % in_epoch]

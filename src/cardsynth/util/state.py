"""State dicts of nets, optimisers and averages on disk: safetensors for tensors, JSON for the rest, never pickle."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

TENSORS, STRUCTURE = "state.safetensors", "state.json"


def save_state(state: Mapping[str, Any], folder: Path) -> None:
    """Writes a nested state into a folder that exists: dicts, lists, tuples, tensors, numbers, texts, None.

    Raises:
        TypeError: the state holds an object of another type.
    """
    tensors: dict[str, torch.Tensor] = {}
    structure = _strip(state, "", tensors)
    save_file(tensors, folder / TENSORS)
    (folder / STRUCTURE).write_text(json.dumps(structure))


def load_state(folder: Path, device: str | torch.device = "cpu") -> dict[str, Any]:
    """Reads what `save_state` wrote, its tensors onto a device.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged; the message names the folder.
    """
    structure, tensors = (folder / STRUCTURE).read_text(), folder / TENSORS
    try:
        return _fill(json.loads(structure), load_file(tensors, device=str(device)))
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged file raises errors of many types
        raise ValueError(f"{folder} is damaged ({str(error).splitlines()[0]})") from error


def _strip(value: Any, key: str, tensors: dict[str, torch.Tensor]) -> Any:
    """Moves the tensors of a nested value into `tensors`; returns the rest in a form that JSON holds."""
    if isinstance(value, torch.Tensor):
        tensors[key] = value.detach().cpu().contiguous()
        return {"channels_last" if _is_channels_last(value) else "tensor": key}
    if isinstance(value, Mapping):  # as pairs, since JSON would turn whole-number keys into texts
        return {"pairs": [[name, _strip(item, f"{key}.{name}".lstrip("."), tensors)] for name, item in value.items()]}
    if isinstance(value, list | tuple):
        items = [_strip(item, f"{key}.{number}", tensors) for number, item in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": items}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"the state holds a {type(value).__name__} at {key}, which is not saved")


def _fill(structure: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if not isinstance(structure, dict):
        return structure
    [(kind, content)] = structure.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "channels_last":  # fused optimisers need state in the memory layout of the weights
        return tensors[content].contiguous(memory_format=torch.channels_last)
    if kind == "pairs":
        return {name: _fill(item, tensors) for name, item in content}
    items = [_fill(item, tensors) for item in content]
    return tuple(items) if kind == "tuple" else items


def _is_channels_last(value: torch.Tensor) -> bool:
    return value.dim() == 4 and not value.is_contiguous() and value.is_contiguous(memory_format=torch.channels_last)

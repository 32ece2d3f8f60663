"""Reads sweep files, JSON that declares the runs of a sweep, and checks them completely before any run starts."""

import dataclasses
import functools
import hashlib
import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_type_hints

from pydantic import BaseModel, Field, NonNegativeInt, ValidationError, create_model, model_validator

from cardsynth.core.config import TrainingConfig
from cardsynth.core.model import check_size
from cardsynth.models import get_preset
from cardsynth.studies.sweeps.config import HELD_OUT_SEED, STRICT, CardSource, Judging, Sweep, SweepRun
from cardsynth.studies.sweeps.factors import changes_text

KEYS = ("question", "preset", "settings", "data", "grid", "list", "seeds", "seconds", "judge")
LONGEST_NAME = 100  # characters


class SweepFile(BaseModel):
    """Contents of a sweep file; sweeps/README.md explains its keys."""

    model_config = STRICT

    question: str = ""
    preset: str = "demo"
    settings: dict[str, Any] = {}
    data: dict[str, CardSource]
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}
    points: list[dict[str, Any]] = Field([], alias="list")
    seeds: tuple[NonNegativeInt, ...] = Field((0,), min_length=1)
    seconds: float | None = Field(None, gt=0)
    judge: Judging = Judging()
    quick: dict[Literal[KEYS], Any] = {}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must be different, and are {list(self.seeds)}")
        if not self.grid and not self.points:
            raise ValueError("there is nothing to sweep: give a grid of values, or a list of settings")
        for name, source in self.data.items():
            if not source.folder and source.seed + source.count > HELD_OUT_SEED:
                raise ValueError(f"data.{name}: seeds from {HELD_OUT_SEED} on are reserved for cards to judge by")
        return self

    @property
    def all_points(self) -> list[dict[str, Any]]:
        """The settings of each run: all combinations of the grid, then the list."""
        combinations = itertools.product(*self.grid.values()) if self.grid else ()
        return [dict(zip(self.grid, values, strict=True)) for values in combinations] + self.points


def read_sweep(path: str | Path, quick: bool = False) -> Sweep:
    """Reads a sweep file.

    Args:
        path: The file.
        quick: Apply the file's `quick` part, which scales the sweep to a CPU.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no valid sweep, or its cards are missing. The message is one line with the file and
            the path of the key.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    try:
        if not isinstance(content, dict):
            raise ValueError("the file must hold one JSON object")
        if quick:
            content = _scaled(content)
        if "data" in content:
            content["data"] = _by_name(content["data"])
        # A strict model takes lists as tuples only from JSON.
        file = SweepFile.model_validate_json(json.dumps(content))
        return _sweep(path.stem + "_quick" * quick, file)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    """Returns the message of an error; for a model's error, the path and the problem of each key."""
    if not isinstance(error, ValidationError):
        return str(error)
    keys = [".".join(str(part) for part in problem["loc"] if part != "[key]") for problem in error.errors()]
    problems = [problem["msg"].removeprefix("Value error, ") for problem in error.errors()]
    return "; ".join(f"{key}: {problem}".removeprefix(": ") for key, problem in zip(keys, problems, strict=True))


def _scaled(content: dict[str, Any]) -> dict[str, Any]:
    """Applies the quick part: settings, judge and data are merged key by key, other keys replaced."""
    quick = content.get("quick")
    if not isinstance(quick, dict):
        raise ValueError("it has no part quick (a JSON object); leave --quick out, or write one")
    merged = content | quick
    for name in ("settings", "judge"):
        merged[name] = content.get(name, {}) | quick.get(name, {})
    if "data" in content and "data" in quick:
        full, scaled = _by_name(content["data"]), quick["data"]
        changes = scaled if _is_named(scaled) else dict.fromkeys(full, scaled)
        merged["data"] = {name: full.get(name, {}) | changes.get(name, {}) for name in full | changes}
    return merged


def _is_named(data: object) -> bool:
    """Whether `data` holds several sources by name, not the options of a single one."""
    return isinstance(data, dict) and bool(data) and all(isinstance(value, dict) for value in data.values())


def _by_name(data: object) -> dict[str, Any]:
    return data if _is_named(data) else {"cards": data}


def _sweep(name: str, file: SweepFile) -> Sweep:
    variants = {}
    for point in file.all_points:
        changes, config = _variant(file, point)
        variants.setdefault(json.dumps(changes, sort_keys=True), (changes, config))
    several_presets = any("preset" in changes for changes, _ in variants.values())
    runs = []
    for seed, (changes, config) in itertools.product(file.seeds, variants.values()):
        changes = {"preset": file.preset} | changes if several_presets else changes
        data = changes.get("data", next(iter(file.data)))
        runs.append(SweepRun(_name_of(changes, seed), changes, seed, config.replace(seed=seed), data))
    unused = sorted(set(file.data) - {run.data for run in runs})
    if unused:
        raise ValueError(f"no run uses data {', '.join(unused)}: name them in grid or list, such as data: [...]")
    base = _config(file.preset, file.settings, "settings")
    sweep = Sweep(name, file.question, base, tuple(runs), file.data, file.judge, file.seconds)
    sweep.judged_by()
    for run in sweep.runs:
        _check_judging(sweep, run)
    return sweep


def _variant(file: SweepFile, point: dict[str, Any]) -> tuple[dict[str, Any], TrainingConfig]:
    """Returns what a point changes compared with the base, and its configuration."""
    first = next(iter(file.data))
    chosen = {"data": point.get("data", first), "preset": point.get("preset", file.preset)}
    settings = {key: value for key, value in point.items() if key not in chosen}
    if chosen["data"] not in file.data:
        raise ValueError(
            f"{changes_text(point)}: there is no data {chosen['data']!r}; there are {', '.join(file.data)}"
        )
    base = _config(chosen["preset"], file.settings, "settings")
    config = _config(chosen["preset"], file.settings | settings, changes_text(point))
    changes = {key: chosen[key] for key, usual in (("preset", file.preset), ("data", first)) if chosen[key] != usual}
    changes |= {key: getattr(config, key) for key in settings if getattr(config, key) != getattr(base, key)}
    return changes, config


def _config(preset: str, settings: Mapping[str, Any], where: str) -> TrainingConfig:
    """Returns a preset with settings; raises ValueError, starting with `where`, for unknown or invalid settings."""
    if "seed" in settings:
        raise ValueError(f"{where}: seed: give seeds, for all runs alike, instead")
    config = get_preset(preset)
    try:
        _settings_model(type(config)).model_validate_json(json.dumps(settings))
        config = config.replace(**settings)
        if hasattr(config, "patch_size"):
            check_size(*config.size, len(config.block_out_channels), config.patch_size)
        if getattr(config, "num_inference_steps", 1) > getattr(config, "num_train_timesteps", 1):
            raise ValueError(
                f"num_inference_steps is {config.num_inference_steps}, and there are {config.num_train_timesteps}"
                " num_train_timesteps"
            )
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {_one_line(error)}") from error
    return config


@functools.cache
def _settings_model(kind: type[TrainingConfig]) -> type[BaseModel]:
    """Returns a model that checks the types of settings, all of them optional."""
    hints = get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind) if field.name not in ("preset", "seed")]
    return create_model("Settings", __config__=STRICT, **{name: (hints[name], None) for name in names})


def _name_of(changes: Mapping[str, Any], seed: int) -> str:
    """Returns a folder's name from the changed settings and the seed; a long one is cut and ends with its hash."""
    name = re.sub(r"[^\w.=+-]+", "-", changes_text(changes).replace(", ", "+"))
    if len(name) > LONGEST_NAME:
        name = f"{name[:LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return f"{name}+seed={seed}"


def _check_judging(sweep: Sweep, run: SweepRun) -> None:
    """Raises ValueError if the sweep cannot judge the cards of a run."""
    source, size = sweep.sources[run.data], sweep.judged_size
    inside = source.card_size(run.config.size)
    if source.ground and inside != size:
        raise ValueError(
            f"{run.name}: its cards measure {inside[0]}x{inside[1]} within their ground, and are judged at"
            f" {size[0]}x{size[1]}; give both the same size"
        )
    unknown = sorted({*run.config.only_labels, *sweep.judging.labels} - set(source.classes))
    if unknown and source.folder is None:
        raise ValueError(f"{run.name}: no drawn card is of the class {', '.join(unknown)}")

"""Reads sweep files: JSON that says which runs there are, checked from end to end before anything starts."""

import dataclasses
import hashlib
import itertools
import json
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from typeguard import TypeCheckError, check_type

from cardsynth.cards.folder import CardError
from cardsynth.core.config import TrainingConfig
from cardsynth.core.model import check_size
from cardsynth.models import get_preset
from cardsynth.studies.sweeps.config import HELD_OUT_SEED, CardSource, Judging, Sweep, SweepRun
from cardsynth.studies.sweeps.factors import changes_text

KEYS = ("question", "preset", "settings", "data", "grid", "list", "seeds", "seconds", "judge", "quick")
LONGEST_NAME = 100  # characters
Kind = TypeVar("Kind")


def read_sweep(path: str | Path, quick: bool = False) -> Sweep:
    """The sweep of a file; `quick`: with what its part `quick` says instead, for a CPU.

    Raises ValueError that names the file and what is wrong in it: unknown keys, settings that do not exist or take
    other values, nothing to sweep, cards that are gone.
    """
    path = Path(path)
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    try:
        _check_keys(said, KEYS, "the file")
        scaled = said.pop("quick", None)
        if quick and scaled is None:
            raise ValueError("it has no part quick; leave --quick out, or write one")
        if scaled is not None:
            _check_keys(scaled, KEYS[:-1], "quick")
        return _sweep(path.stem + "_quick" * quick, _merged(said, scaled) if quick else said)
    except (CardError, ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def _merged(said: dict[str, Any], quick: dict[str, Any]) -> dict[str, Any]:
    """What a file says with its quick part over it: settings, judge and data by name, all else as a whole."""
    merged = said | quick
    for name in ("settings", "judge"):
        merged[name] = said.get(name, {}) | quick.get(name, {})
    if "data" in said and "data" in quick:
        known, scaled = _by_name(said["data"]), quick["data"]
        for_all = scaled if not _is_named(scaled) else {}
        merged["data"] = {name: one | for_all for name, one in known.items()}
        if not for_all:
            merged["data"] = {name: known.get(name, {}) | one for name, one in (known | scaled).items()}
    return merged


def _is_named(data: Any) -> bool:
    """Whether data are several, each under its name."""
    return isinstance(data, dict) and bool(data) and all(isinstance(one, dict) for one in data.values())


def _by_name(data: Any) -> dict[str, Any]:
    return data if _is_named(data) else {"cards": data}


def _sweep(name: str, said: dict[str, Any]) -> Sweep:
    if "data" not in said:
        raise ValueError("it does not say which data: a folder, or a count of cards to draw")
    sources = {key: _build(CardSource, one, f"data {key}") for key, one in _by_name(said["data"]).items()}
    judge = dict(_mapping(said.get("judge", {}), "judge"))
    for part in ("held_out", "learn_from"):
        if judge.get(part) is not None:
            judge[part] = _build(CardSource, judge[part], f"judge, {part}")
    judging = _build(Judging, judge, "judge")
    points = _points(said)
    seeds = said.get("seeds", [0])
    if not isinstance(seeds, list) or not seeds or len(set(map(repr, seeds))) < len(seeds):
        raise ValueError(f"seeds must be different whole numbers, one at least, and are {seeds}")
    for seed in seeds:
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise ValueError(f"seeds must be whole numbers from 0, and one is {seed!r}")
    preset, settings = said.get("preset", "demo"), _mapping(said.get("settings", {}), "settings")
    seconds = said.get("seconds")
    if seconds is not None and (not isinstance(seconds, int | float) or seconds <= 0):
        raise ValueError(f"seconds must be above 0 or left out, and is {seconds!r}")
    first = next(iter(sources))
    base = _config(preset, settings, "settings")
    found = {}
    for point in points:
        changes = _changes(point, preset, settings, first, sources)
        found.setdefault(json.dumps(changes, sort_keys=True), changes)
    runs = []
    several_presets = any("preset" in changes for changes in found.values())
    for seed, changes in itertools.product(seeds, found.values()):
        changes = {"preset": preset} | changes if several_presets else changes  # models are told apart by name
        others = {key: value for key, value in changes.items() if key not in ("preset", "data")}
        config = _config(changes.get("preset", preset), settings | others, changes_text(changes)).replace(seed=seed)
        runs.append(SweepRun(_name_of(changes, seed), changes, seed, config, changes.get("data", first)))
    sweep = Sweep(
        name=name,
        question=str(said.get("question", "")),
        base=base,
        runs=tuple(runs),
        sources={key: sources[key] for key in sources if any(run.data == key for run in runs)},
        judging=judging,
        seconds=seconds,
    )
    unused = sorted(set(sources) - set(sweep.sources))
    if unused:
        raise ValueError(f"data {', '.join(unused)} are in no run: name them in grid or list, like data: [...]")
    _check(sweep)
    return sweep


def _points(said: dict[str, Any]) -> list[dict[str, Any]]:
    """The settings of each run: every combination of the grid, and the list's."""
    grid = _mapping(said.get("grid", {}), "grid")
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise ValueError(f"grid, {key}: give a list of values, one at least; it is {values!r}")
    points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())] if grid else []
    listed = said.get("list", [])
    if not isinstance(listed, list):
        raise ValueError("list must be a list of settings")
    points += [_mapping(one, "list") for one in listed]
    if not points:
        raise ValueError("there is nothing to sweep: give a grid of values, or a list of settings")
    return points


def _changes(
    point: dict[str, Any], preset: str, settings: dict[str, Any], first: str, sources: dict[str, CardSource]
) -> dict[str, Any]:
    """What of a point differs from the base; checks its settings, data and preset."""
    where = changes_text(point)
    data = point.get("data", first)
    if data not in sources:
        raise ValueError(f"{where}: there is no data {data!r}; there are {', '.join(sources)}")
    own = point.get("preset", preset)
    others = {key: value for key, value in point.items() if key not in ("preset", "data")}
    base = _config(own, settings, "settings")
    config = _config(own, settings | others, where)
    changes = {key: getattr(config, key) for key in others if getattr(config, key) != getattr(base, key)}
    elsewhere = {"preset": own} if own != preset else {}
    return elsewhere | ({"data": data} if data != first else {}) | changes


def _config(preset: Any, settings: Mapping[str, Any], where: str) -> TrainingConfig:
    """A preset with settings; raises ValueError for settings that it does not have, or that take other values."""
    if "seed" in settings:
        raise ValueError(f"{where}: seed is said by seeds, for all runs alike")
    config = get_preset(preset)
    known = {field.name for field in dataclasses.fields(config) if field.name != "preset"}
    unknown = sorted(set(settings) - known)
    if unknown:
        raise ValueError(f"{where}: there are no settings {', '.join(unknown)}")
    values = _typed(type(config), settings, where)
    try:
        config = config.replace(**values)
        if hasattr(config, "patch_size"):
            check_size(*config.size, len(config.block_out_channels), config.patch_size)
        if getattr(config, "num_inference_steps", 1) > getattr(config, "num_train_timesteps", 1):
            raise ValueError(
                f"num_inference_steps is {config.num_inference_steps}, and there are {config.num_train_timesteps}"
                " num_train_timesteps"
            )
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error
    return config


def _typed(kind: type, values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Values of a dataclass from JSON, lists as tuples where it holds tuples; raises ValueError for other types."""
    hints, typed = get_type_hints(kind), {}
    for name, value in values.items():
        hint = hints[name]
        wants_tuple = tuple in (get_origin(hint), *map(get_origin, get_args(hint)))
        typed[name] = tuple(value) if wants_tuple and isinstance(value, list) else value
        try:
            if isinstance(value, bool) and bool not in (hint, *get_args(hint)):
                raise TypeCheckError("is a truth value")
            check_type(typed[name], hint)
        except TypeCheckError as error:
            raise ValueError(f"{where}: {name} is {value!r}, and must be {_in_words(hint)}") from error
    return typed


def _in_words(hint: Any) -> str:
    if get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    if get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(map(_in_words, get_args(hint)))
    if get_origin(hint) is tuple:
        return f"a list of {_in_words(get_args(hint)[0])}"
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}
    return words.get(hint, str(hint))


def _build(kind: type[Kind], values: Any, where: str) -> Kind:
    """A dataclass from a JSON object; raises ValueError for unknown keys and wrong values."""
    _check_keys(values, [field.name for field in dataclasses.fields(kind)], where)
    try:
        return kind(**_typed(kind, values, where))
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(where) else f"{where}: {text}") from error


def _mapping(values: Any, where: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ValueError(f"{where} must be a JSON object, and is {values!r}")
    return values


def _check_keys(values: Any, known: typing.Sequence[str], where: str) -> None:
    unknown = sorted(set(_mapping(values, where)) - set(known))
    if unknown:
        raise ValueError(f"{where}: unknown {', '.join(unknown)}; there are {', '.join(known)}")


def _name_of(changes: Mapping[str, Any], seed: int) -> str:
    """A folder's name: the settings that differ, and the seed; a very long one is cut, and ends with its hash."""
    name = re.sub(r"[^\w.=+-]+", "-", changes_text(changes).replace(", ", "+"))
    if len(name) > LONGEST_NAME:
        name = f"{name[:LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return f"{name}+seed={seed}"


def _check(sweep: Sweep) -> None:
    """Raise ValueError or CardError for cards that are not there, and for what cannot be judged."""
    for name, source in {**sweep.sources, **sweep.judged_by()}.items():
        source.check_there()
        own = name in sweep.sources
        if own and not source.folder and source.seed + source.count > HELD_OUT_SEED:
            raise ValueError(f"data {name}: seeds from {HELD_OUT_SEED} on are kept for cards to judge by")
    size = sweep.judged_size
    for run in sweep.runs:
        source = sweep.sources[run.data]
        inside = source.card_size(run.config.size)
        if source.ground and inside != size:
            raise ValueError(
                f"{run.name}: its cards measure {inside[0]}x{inside[1]} within their ground, and are judged at"
                f" {size[0]}x{size[1]}; give both one size"
            )
        if source.folder is None:
            unknown = sorted({*run.config.only_labels, *sweep.judging.labels} - set(source.classes))
            if unknown:
                raise ValueError(f"{run.name}: no card that is drawn is of the class {', '.join(unknown)}")

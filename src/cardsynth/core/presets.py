"""Presets: ready-made settings of diffusion runs, read from `presets.toml`."""

import tomllib
from importlib import resources
from typing import Any

from cardsynth.core.config import TrainingConfig


def _build(name: str, tables: dict[str, dict[str, Any]]) -> TrainingConfig:
    values = dict(tables[name])
    base = _build(values.pop("extends"), tables) if "extends" in values else TrainingConfig()
    return base.replace(preset=name, **values)


_TABLES = tomllib.loads(resources.files("cardsynth.core").joinpath("presets.toml").read_text(encoding="utf-8"))
PRESETS: dict[str, TrainingConfig] = {name: _build(name, _TABLES) for name in _TABLES}

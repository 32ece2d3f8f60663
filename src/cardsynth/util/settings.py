"""Settings: frozen dataclasses whose values are checked by type and range, and their JSON files."""

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, dataclass_transform

import pydantic
import tyro
from pydantic import ConfigDict, Field, ValidationError

from cardsynth.util.files import write_atomically

Settings = TypeVar("Settings")  # a class of settings, or an object of one

# Types of settings with their ranges; values that are not finite and values of another type are refused everywhere.
PositiveInt = Annotated[int, Field(gt=0)]
CountFromZero = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
ShareBelowOne = Annotated[float, Field(ge=0, lt=1)]
Precision = Literal["auto", "no", "fp16", "bf16"]
# Tuples may be given as lists, as JSON files hold them; their items are checked strictly.
Ints = Annotated[tuple[int, ...], Field(strict=False)]
Floats = Annotated[tuple[float, ...], Field(strict=False)]
Texts = Annotated[tuple[str, ...], Field(strict=False)]

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


def about(text: str) -> Any:
    """Annotates a setting with the text that `--help` shows."""
    return tyro.conf.arg(help=text)


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def settings(cls: type[Settings]) -> type[Settings]:
    """Makes a class a frozen dataclass that checks the type and range of each value.

    Raises:
        ValueError: from the constructor, in one line, naming the setting, what it takes and its value.
    """
    checked = pydantic.dataclasses.dataclass(frozen=True, config=STRICT)(cls)
    construct = checked.__init__

    @functools.wraps(construct)
    def init(self: Any, *args: Any, **values: Any) -> None:
        try:
            construct(self, *args, **values)
        except ValidationError as error:
            raise ValueError(describe_error(error)) from None

    checked.__init__ = init
    return checked


class Replaceable:
    """Base of settings classes."""

    def replace(self, **changes: Any) -> Self:
        """Returns a copy with other values; raises ValueError as the constructor does."""
        return dataclasses.replace(self, **changes)


def describe_error(error: ValidationError) -> str:
    """Says in one line which settings are wrong, what each takes, and what it is."""
    lines = []
    for detail in error.errors():
        name = ".".join(str(part) for part in detail["loc"])
        if detail["type"] == "unexpected_keyword_argument":
            lines.append(f"there is no setting {name}")
        elif detail["type"] == "value_error":
            lines.append(str(detail["ctx"]["error"]))
        else:
            lines.append(f"{name} {detail['msg'].replace('Input should', 'must')}, and is {detail['input']!r}")
    return "; ".join(lines)


def save_config(config: Any, path: str | Path) -> None:
    """Writes settings, a dataclass, as one flat JSON object."""
    write_atomically(Path(path), (json.dumps(dataclasses.asdict(config), indent=2) + "\n").encode())


def read_config_file(path: str | Path) -> dict[str, Any]:
    """Reads the JSON object of a settings file, with or without a byte order mark.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds no JSON object; the message names the file.
    """
    path = Path(path)
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold one JSON object of settings")
    return values


def load_config(path: str | Path, base: Settings) -> Settings:
    """Reads settings from a JSON file; what the file does not name keeps the value of `base`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not JSON, or a setting is unknown or wrong; the message names file and setting.
    """
    return apply_values(base, read_config_file(path), path)


def load_run_config(path: str | Path, presets: Mapping[str, Settings], default: Settings) -> Settings:
    """Reads the settings file of a run; what the file lacks comes from the preset that it names, else from `default`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as of `load_config`.
    """
    values = read_config_file(path)
    preset = values.get("preset")
    return apply_values(presets.get(preset, default) if isinstance(preset, str) else default, values, path)


def apply_values(base: Settings, values: Mapping[str, Any], path: str | Path) -> Settings:
    """Returns `base` with other values, which come from the file at `path`.

    Raises:
        ValueError: a setting is unknown or wrong; the message names file and setting.
    """
    unknown = sorted(set(values) - {field.name for field in dataclasses.fields(base)})
    if unknown:
        raise ValueError(f"{path} has settings that do not exist: {', '.join(unknown)}")
    try:
        return dataclasses.replace(base, **values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error

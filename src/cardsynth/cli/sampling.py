"""Sampling options of the commands that draw cards, derived from `SamplingConfig`."""

from dataclasses import make_dataclass
from typing import Annotated, get_args, get_type_hints

from cardsynth.core.base_config import SAMPLING_FIELDS, SamplingConfig
from cardsynth.util.settings import about

FIELDS = []
for name in SAMPLING_FIELDS:
    kind, *_, note = get_args(get_type_hints(SamplingConfig, include_extras=True)[name])
    FIELDS.append((name, Annotated[kind | None, about(f"{note.help} None: the run's own.")], None))
# The fields of `SamplingConfig`, each optional; None stands for the run's own setting.
SamplingOptions = make_dataclass("SamplingOptions", FIELDS, frozen=True)

from typing import get_args, get_type_hints

import pytest

from cardsynth.cli.models import GenerationOptions, PaintingOptions
from cardsynth.cli.options import parse_range, parse_seeds, parse_shares, parse_size, read_options
from cardsynth.cli.sampling import SamplingOptions
from cardsynth.core.base_config import SAMPLING_FIELDS, SamplingConfig


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_size, "160x128", (160, 128)),
        (parse_size, "40X32", (40, 32)),
        (parse_seeds, "5", [5]),
        (parse_seeds, "3,16, 20-22", [3, 16, 20, 21, 22]),
        (parse_range, "2", (2, 2)),
        (parse_range, "1-3", (1, 3)),
        (parse_shares, "0.8,0.1,0.1", (0.8, 0.1, 0.1)),
    ],
)
def test_values_are_parsed(parse, text, value):
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "option", "texts"),
    [
        (parse_size, "--size", ("160", "160x", "x128", "160x128x3", "axb", "")),
        (parse_seeds, "--seeds", ("1..3", "-3", "3-", "1,,2", "")),
        (parse_range, "--damages", ("1..3", "-3", "3-", "1-2-3", "")),
        (parse_shares, "--shares", ("80%", "0.8,,0.1", "")),
    ],
)
def test_other_values_are_refused_with_the_option_and_the_value(parse, option, texts):
    for text in texts:
        with pytest.raises(ValueError, match=f"{option} is .*like ") as error:
            parse(text)
        assert repr(text) in str(error.value)


def test_options_are_read_ahead_and_the_others_stay_in_order():
    arguments = ["--data", "cards", "--config=a=b.json", "--preset", "card", "--config-file", "x"]
    values, others = read_options(arguments, "--preset", "--config")
    assert values == ["card", "a=b.json"]
    assert others == ["--data", "cards", "--config-file", "x"]
    assert read_options(["--hub-model-id", "--pre", "card"], "--preset")[0] == [None]


def test_every_sampling_setting_is_an_optional_option():
    hints = get_type_hints(SamplingOptions, include_extras=True)
    for options in (SamplingOptions(), GenerationOptions(), PaintingOptions()):
        assert {name: getattr(options, name) for name in SAMPLING_FIELDS} == dict.fromkeys(SAMPLING_FIELDS)
    for name, hint in get_type_hints(SamplingConfig, include_extras=True).items():
        if name in SAMPLING_FIELDS:
            assert type(None) in get_args(get_args(hints[name])[0])
            assert get_args(hints[name])[-1].help.startswith(get_args(hint)[-1].help)

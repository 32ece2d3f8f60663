import dataclasses
import json
import math

import pytest

from cardsynth.baselines.config import BaselineConfig
from cardsynth.core.config import TrainingConfig
from cardsynth.models import PRESETS, get_preset, load_settings
from cardsynth.util.settings import load_config, save_config

# The published runs, from their reports: size, epochs, batch, warm-up.
PUBLISHED = {
    "cards": ((128, 128), 100, 16, 500),
    "all_gum_stain_cards": ((160, 128), 200, 16, 500),
    "higher_res_gum_stain_cards": ((320, 256), 100, 8, 500),
    "full_gum_stain_cards": ((160, 128), 150, 16, 750),
    "white_or_marks_gum_stain_cards": ((160, 128), 150, 24, 750),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_presets_have_the_published_settings(name):
    config = get_preset(name)
    assert (config.size, config.num_epochs, config.train_batch_size, config.lr_warmup_steps) == PUBLISHED[name]
    assert config.block_out_channels == (128, 128, 256, 256, 512, 512)
    assert config.attention_levels == (4,)
    assert (config.prediction_type, config.beta_schedule, config.learning_rate) == ("epsilon", "linear", 1e-4)


@pytest.mark.parametrize("name", PRESETS)
def test_json_round_trip(name, tmp_path):
    save_config(get_preset(name), tmp_path / "settings.json")
    assert load_settings(tmp_path / "settings.json") == get_preset(name)


def test_a_file_replaces_only_what_it_names(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text('{"learning_rate": 0.5}')
    assert load_config(path, get_preset("demo")) == get_preset("demo").replace(learning_rate=0.5)


def test_settings_are_frozen_and_annotated():
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_preset("demo").seed = 3
    for settings in (TrainingConfig, BaselineConfig):
        annotated = {name for kind in settings.mro()[:-1] for name in vars(kind).get("__annotations__", {})}
        fields = {field.name for field in dataclasses.fields(settings)}
        assert annotated - {"conditions", "may_change"} == fields - {"conditions"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": 0}, "height must be greater than 0"),
        ({"label_dropout": 1.0}, "label_dropout must be"),
        ({"block_out_channels": (48, 50)}, "multiples of norm_num_groups"),
        ({"attention_levels": (6,)}, "attention_levels must lie in 0 to 5"),
        ({"push_to_hub": True}, "push_to_hub needs hub_model_id"),
        ({"max_train_steps": 0}, "max_train_steps"),
        ({"guidance_interval": (0.8, 0.2)}, "guidance_interval must be"),
        ({"guidance_interval": (0.5, 1.5)}, "guidance_interval must be"),
        ({"guidance_scale": math.nan}, "guidance_scale must be a finite number"),
        ({"learning_rate": math.inf}, "learning_rate must be a finite number"),
        ({"seed": True}, "seed must be a valid integer, and is True"),
        ({"use_masks": "no"}, "use_masks must be a valid boolean, and is 'no'"),
        ({"fit": "nope"}, "fit must be 'crop', 'pad' or 'stretch', and is 'nope'"),
        ({"conditions": ("size",)}, "conditions.0 must be 'covered' or 'darkness'"),
        ({"learning_rat": 1.0}, "there is no setting learning_rat"),
    ],
)
def test_values_out_of_range_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0}, "width must be greater than 0"),
        ({"adam_beta1": 1.0}, "adam_beta1 must be less than 1"),
        ({"max_channels": 32}, r"max_channels must be at least base_channels \(64\)"),
        ({"push_to_hub": True}, "push_to_hub needs hub_model_id"),
    ],
)
def test_values_of_baselines_out_of_range_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        BaselineConfig(**change)


def test_settings_of_a_baseline_without_a_preset_are_read_back(tmp_path):
    save_config(BaselineConfig(kind="vae", height=40), tmp_path / "settings.json")
    assert load_settings(tmp_path / "settings.json") == BaselineConfig(kind="vae", height=40)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "one JSON object"),
        ('{"learning_rat": 1}', "learning_rat"),
        ('{"width": -1}', "width"),
    ],
)
def test_bad_files_are_named(content, message, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        load_settings(path)
    assert str(path) in str(error.value)


def test_an_unknown_preset_lists_the_presets():
    with pytest.raises(ValueError, match="all_gum_stain_cards"):
        get_preset("nope")


def test_every_field_is_plain_json(tmp_path):
    save_config(TrainingConfig(), tmp_path / "settings.json")
    values = json.loads((tmp_path / "settings.json").read_text())
    assert all(isinstance(value, (str, int, float, list, type(None))) for value in values.values())

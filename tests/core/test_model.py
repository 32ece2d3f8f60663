import pytest
import torch

from cardsynth.core.config import TrainingConfig
from cardsynth.core.model import build_unet
from cardsynth.models import PRESETS, get_preset

SMOKE = get_preset("smoke")


@pytest.mark.parametrize("size", [(40, 32), (32, 32), (24, 56)])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("num_classes", [0, 1, 5])
@pytest.mark.parametrize("patch_size", [1, 2])
def test_any_size_channels_and_classes(size, channels, num_classes, patch_size):
    config = SMOKE.replace(height=size[0], width=size[1], patch_size=patch_size)
    unet = build_unet(config, channels, num_classes)
    images = torch.randn(2, channels * patch_size**2, size[0] // patch_size, size[1] // patch_size)
    # The last class, num_classes, is "no label".
    labels = torch.tensor([0, num_classes]) if num_classes else None
    assert unet(images, torch.tensor([3, 900]), class_labels=labels).sample.shape == images.shape


def test_the_published_net_has_the_tutorials_parameters():
    with torch.device("meta"):
        unet = build_unet(get_preset("cards"))
    assert sum(parameter.numel() for parameter in unet.parameters()) == 113_673_219


@pytest.mark.parametrize("name", [name for name, config in PRESETS.items() if isinstance(config, TrainingConfig)])
def test_every_preset_builds(name):
    with torch.device("meta"):
        build_unet(get_preset(name), channels=4, num_classes=5)


def test_a_size_that_does_not_fit_names_the_nearest():
    with pytest.raises(ValueError, match=r"multiples of 32; 150x128 is not: take height 128 or 160, width 128"):
        build_unet(get_preset("all_gum_stain_cards").replace(height=150))


def test_labels_change_the_prediction():
    unet = build_unet(SMOKE, 4, 5)
    images, timestep = torch.randn(1, 16, 20, 16), torch.tensor([500])
    one, other = (unet(images, timestep, class_labels=torch.tensor([label])).sample for label in (0, 5))
    assert not torch.allclose(one, other)

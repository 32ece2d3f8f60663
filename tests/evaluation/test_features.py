"""Feature nets: seeded, cached, named by their weights, and never fetched unasked."""

import hashlib
from dataclasses import replace

import pytest
import torch
from transformers import CLIPConfig, CLIPModel, Dinov2Config, Dinov2Model

from cardsynth.cards.dataset import Cards, stack_cards
from cardsynth.evaluation import features
from cardsynth.evaluation.features import FeatureNetError, build_features, cardnet, known_judge
from cardsynth.evaluation.metrics import kernel_distance
from cardsynth.render.draw import draw_cards

SIZE = (40, 32)
TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 224, "patch_size": 56}


@pytest.fixture(scope="module")
def drawn():
    return stack_cards(draw_cards(200, SIZE, seed=0, styles=("a",), workers=1))


@pytest.fixture(scope="module")
def fresh():
    return stack_cards(draw_cards(100, SIZE, seed=9000, styles=("a",), workers=1))


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CARDSYNTH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(features, "STEPS", 15)


@pytest.mark.slow
def test_cardnet_is_the_same_again_from_its_cache_and_from_its_seed(drawn, fresh, tmp_path, monkeypatch):
    net = build_features("cardnet", drawn)
    (kept,) = (tmp_path / "cache").glob("*.safetensors")
    first = net.measure(fresh.pixels)
    assert first.shape == (100, net.dimension)
    assert first.dtype == torch.float64
    with monkeypatch.context() as patched:
        patched.setattr(features, "train_judge", lambda *_, **__: pytest.fail("trained again"))
        cached = build_features("cardnet", drawn)
    assert cached.name == net.name
    assert torch.equal(cached.measure(fresh.pixels), first)
    kept.unlink()
    assert torch.equal(build_features("cardnet", drawn).measure(fresh.pixels), first)
    assert build_features("cardnet", drawn, seed=1).name != net.name
    fewer = Cards(drawn.pixels[:150], drawn.labels[:150], drawn.label_names)
    assert build_features("cardnet", fewer).name != net.name
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_a_cache_that_cannot_be_written_costs_time_and_nothing_else(drawn, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CARDSYNTH_CACHE", str(tmp_path / "file/cache"))
    assert build_features("cardnet", drawn).dimension == 136


def test_a_cached_net_that_is_cut_short_is_trained_anew(drawn, tmp_path):
    net = build_features("cardnet", drawn)
    (kept,) = (tmp_path / "cache").glob("*.safetensors")
    kept.write_bytes(kept.read_bytes()[:1000])
    assert build_features("cardnet", drawn).name == net.name


def test_cards_without_classes_and_masks_still_have_features(drawn, fresh):
    plain = Cards(drawn.pixels[:, :3], torch.zeros(len(drawn), dtype=torch.long))
    net = build_features("cardnet", plain)
    blurred = torch.nn.functional.avg_pool2d(fresh.pixels[:, :3].float(), 7, 1, 3).to(torch.uint8)
    real, far = net.measure(plain.pixels[:100]), net.measure(blurred)
    assert kernel_distance(far, real).low > kernel_distance(net.measure(fresh.pixels), real).high


def test_features_are_scaled_and_one_odd_card_does_not_outweigh_the_rest(drawn):
    net = cardnet(known_judge(drawn), drawn)
    found = net.measure(drawn.pixels)
    assert found.mean(dim=0).abs().max() < 0.2
    noise = torch.randint(0, 256, (1, 4, *SIZE), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    assert net.measure(noise).abs().max() <= 4


def test_the_tag_says_it_all(drawn):
    net = build_features("cardnet", drawn)
    assert net.tag(100, 90, SIZE) == f"[{net.name}, 136-d, 100 vs 90, 40x32]"


def test_inception_is_asked_for_where_it_is_missing_and_refused_where_it_is_another(drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    with pytest.raises(FeatureNetError, match=r"fetch https://github.com/.*6726825d.pth and put it at .*hub"):
        build_features("inception-2015-12-05", drawn)
    other = tmp_path / "other.pth"
    other.write_bytes(b"another net")
    digest = hashlib.sha256(b"another net").hexdigest()[:8]
    with pytest.raises(FeatureNetError, match=f"is not the net of FID: its SHA-256 begins {digest}"):
        build_features("inception-2015-12-05", drawn, weights=other)


@pytest.mark.slow
def test_inception_of_any_weights_gives_2048_features(tmp_path, monkeypatch, fresh):
    """The weights are not here, so those of the same net as it is before training stand in for them."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    monkeypatch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_, **__: None)
    monkeypatch.setattr(torch, "load", lambda *_, **__: {})
    monkeypatch.setattr(features, "INCEPTION_HASH", hashlib.sha256(b"untrained").hexdigest()[:8])
    (tmp_path / "net.pth").write_bytes(b"untrained")
    net = build_features("inception-2015-12-05", fresh, weights=tmp_path / "net.pth")
    found = net.measure(fresh.pixels[:2])
    assert found.shape == (2, 2048)
    assert net.name.startswith("inception-2015-12-05 ")


@pytest.mark.parametrize("name", ["dinov2", "clip"])
def test_nets_of_transformers_from_a_folder(name, tmp_path, fresh):
    torch.manual_seed(0)
    if name == "clip":
        text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        text |= {"vocab_size": 50, "max_position_embeddings": 8, "bos_token_id": 0, "eos_token_id": 1}
        vision = {**TINY, "intermediate_size": 16}
        model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12))
    else:
        model = Dinov2Model(Dinov2Config(**TINY))
    model.save_pretrained(tmp_path / "net")
    net = build_features(name, fresh, weights=tmp_path / "net")
    found = net.measure(fresh.pixels[:3])
    assert found.shape == (3, net.dimension) == (3, 12 if name == "clip" else 16)
    assert torch.equal(net.measure(replace(fresh, pixels=fresh.pixels[:, :3]).pixels[:3]), found)
    assert not torch.allclose(found[0], found[1])


def test_what_is_not_on_disk_is_not_fetched(fresh, tmp_path):
    with pytest.raises(FeatureNetError, match="hf download facebook/dinov2-small"):
        build_features("dinov2", fresh)
    with pytest.raises(FeatureNetError, match="name its folder"):
        build_features("clip", fresh, weights=tmp_path / "nothing")
    with pytest.raises(ValueError, match="no feature net 'vgg'; choose one of cardnet"):
        build_features("vgg", fresh)

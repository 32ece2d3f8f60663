"""A DCGAN and a VAE: nets for any size, and models that draw the same card from a seed whatever the batch."""

import json

import pytest
import torch

from cardsynth.baselines.config import BASELINE_PRESETS
from cardsynth.baselines.model import BaselineModel, load_baseline
from cardsynth.baselines.nets import CardAutoencoder, CardDiscriminator, CardGenerator
from cardsynth.baselines.variety import VarietyProbe
from cardsynth.cards.dataset import read_cards
from cardsynth.cards.folder import read_metadata
from cardsynth.core.runs import RunError, read_log, read_manifest
from cardsynth.core.sampling import generate, write_cards
from cardsynth.doctor.diagnosis import diagnose
from cardsynth.doctor.estimate import estimate_run
from cardsynth.hub.model_card import model_card
from cardsynth.hub.push_pull import HubError, pull_run
from cardsynth.models import get_preset, open_model
from cardsynth.painting.paint import damage_labels
from cardsynth.plots.curves import plot_losses

pytestmark = pytest.mark.filterwarnings("ignore:mode collapse")

KINDS = ("dcgan", "vae")
SIZES = [(64, 64), (80, 64), (160, 128), (320, 256), (40, 32), (24, 56), (41, 33), (8, 8)]


@pytest.fixture(params=KINDS)
def run(request, baseline_runs):
    return baseline_runs[request.param]


@pytest.fixture
def model(run):
    return open_model(run, device="cpu")


def drawn(model, seeds, labels=None, **how):
    return torch.cat([batch.pixels for batch in generate(model, seeds, labels, progress=False, **how)])


def one_hot(*numbers):
    return torch.eye(5)[list(numbers)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("channels", "classes"), [(3, 0), (4, 5)])
def test_nets_take_any_size_channels_and_classes(size, channels, classes):
    width = {"base_channels": 4, "max_channels": 8}
    weights = torch.eye(classes)[:2] if classes else None
    latents, images = torch.randn(2, 10), torch.rand(2, channels, *size) * 2 - 1
    shape = (2, channels, *size)
    assert CardGenerator(size, channels, 10, classes, **width)(latents, weights).shape == shape
    for norm in ("spectral", "batch"):
        assert CardDiscriminator(size, channels, classes, norm=norm, **width)(images, weights).shape == (2,)
    vae = CardAutoencoder(size, channels, 10, classes, **width)
    assert vae(latents, weights).shape == shape
    assert [value.shape for value in vae.encode(images)] == [(2, 10), (2, 10)]


def test_a_size_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match="heights and widths from 8, not 40x7"):
        CardGenerator((40, 7))


@pytest.mark.parametrize("name", BASELINE_PRESETS)
def test_the_first_map_of_a_preset_is_small(name):
    """A net of fixed depth would leave most of a large card to its first layer."""
    for size in SIZES[:4]:
        config = get_preset(name)
        with torch.device("meta"):
            net = CardGenerator(size, 4, config.latent_dim, 5, config.base_channels, config.max_channels)
        assert 4 <= min(net.first_map) < 8


def test_a_seed_is_the_same_card_at_any_batch_size(model):
    whole = drawn(model, range(19), batch_size=16)
    assert whole.shape == (19, 4, 40, 32)
    assert whole[:, :3].float().std() > 5
    assert set(whole[:, 3].unique().tolist()) <= {0, 255}
    for batch_size in (1, 7):
        assert torch.equal(drawn(model, range(19), batch_size=batch_size), whole)
    assert torch.equal(drawn(model, [16], batch_size=1)[0], whole[16])


def test_seed_latents_belong_to_their_seed_alone(model):
    latents = model.seed_latents([3, 900, 7])
    assert latents.shape == (3, *model.latent_shape)
    assert torch.equal(model.seed_latents([7])[0], latents[2])
    assert torch.equal(latents[0], torch.randn(16, generator=torch.Generator().manual_seed(3)))


def test_decoded_latents_are_the_generated_cards(model):
    latents = model.seed_latents([4, 11])
    assert torch.equal(model.decode(latents, one_hot(2, 0)), drawn(model, [4, 11], ["LIGHT", "CLEAN"]))


def test_a_full_gpu_halves_how_many_go_through_the_net(model):
    def with_little_memory(_, part):
        sizes.append(len(part[0]))
        if len(part[0]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    expected, sizes = drawn(model, range(6)), []
    with model.net.register_forward_pre_hook(with_little_memory):
        found = drawn(model, range(6))
    assert (found.int() - expected.int()).abs().max() <= 1
    assert sizes[0] > 2 >= sizes[-1]


def test_classes_can_be_mixed(model):
    latents = model.seed_latents([4] * 3)
    cards = model.decode(latents, torch.stack([*one_hot(0, 1), one_hot(0, 1).mean(dim=0)])).int()
    apart = (cards[0] - cards[1]).abs().sum()
    assert apart > 0
    assert 0 < (cards[2] - cards[0]).abs().sum() < apart


def test_shapes_that_do_not_fit_are_refused(model):
    with pytest.raises(ValueError, match=r"latents of shape \(cards, 16\), .* these are \(2, 5\)"):
        model.decode(torch.randn(2, 5), one_hot(0, 1))
    with pytest.raises(ValueError, match=r"class weights of shape \(2, 5\) .* got None"):
        model.decode(torch.randn(2, 16))


def test_a_vae_encodes_and_a_dcgan_does_not(baseline_runs, cards):
    vae = load_baseline(baseline_runs["vae"])
    latents = vae.encode(cards.pixels[:11])
    assert latents.shape == (11, 16)
    assert torch.equal(vae.encode(cards.pixels[5:6])[0], latents[5])
    with pytest.raises(ValueError, match=r"encodes cards of shape \(2, 4, 40, 32\)"):
        vae.encode(cards.pixels[:2, :3])
    assert load_baseline(baseline_runs["dcgan"]).encode is None


def test_written_cards_are_a_card_folder(run, model, tmp_path):
    write_cards(model, tmp_path / "made", range(6), progress=False)
    rows = read_metadata(tmp_path / "made/metadata.jsonl")
    assert [row["label"] for row in rows[:5]] == list(model.labels)
    assert {row["model"] for row in rows} == {run.name}
    assert {row["revision"] for row in rows} == {model.revision}
    assert "sampler" not in rows[0]
    found = read_cards(tmp_path / "made", (40, 32))
    assert torch.equal(found.pixels.sort(0).values, drawn(model, range(6)).sort(0).values)


@pytest.mark.parametrize(
    "option", [{"guidance_scale": 2.0}, {"sampler": "ddim"}, {"num_inference_steps": 5}, {"compile": True}]
)
def test_options_of_diffusion_are_refused(model, option, tmp_path):
    kind = model.config.kind.upper()
    with pytest.raises(ValueError, match=f"is a {kind}, which draws a card in one step.*{next(iter(option))} mean"):
        drawn(model, [1], **option)
    with pytest.raises(ValueError, match="mean nothing for it"):
        write_cards(model, tmp_path / "made", [1], progress=False, **option)


def test_what_only_diffusion_can_do_is_refused_in_words(run, model, cards):
    with pytest.raises(ValueError, match="was trained without covered"):
        drawn(model, [1], covered=0.5)
    with pytest.raises(ValueError, match="knows no class GUM"):
        drawn(model, [1], "GUM")
    with pytest.raises(ValueError, match="no diffusion model, so it cannot paint"):
        damage_labels(model, [0], None)
    with pytest.raises(RunError, match="one average"):
        open_model(run, ema_decay=0.9)
    with pytest.raises(ValueError, match="estimates cover diffusion models only"):
        estimate_run(model.config, cards)


@pytest.mark.slow
def test_commands_train_and_generate(cardsynth, card_folder, tmp_path):
    for kind in KINDS:
        run, made = tmp_path / kind, tmp_path / f"{kind}_cards"
        options = ("--preset", f"smoke_{kind}", "--data", card_folder, "--out", run, "--max-train-steps", "2")
        code, said = cardsynth("train", *options, "--latent-dim", "8")
        assert code == 0, said
        assert json.loads((run / "settings.json").read_text())["latent_dim"] == 8
        code, said = cardsynth("generate", "--model", run, "--seeds", "0-7", "--out", made)
        assert code == 0, said
        code, said = cardsynth("generate", "--model", run, "--steps", "5", "--out", tmp_path / "none")
        assert (code, "num_inference_steps mean nothing for it" in said) == (1, True)
    code, said = cardsynth("train", "--preset", "vae", "--data", card_folder, "--width", "4")
    assert (code, "widths from 8, not 80x4" in said) == (1, True)


def test_a_run_is_told_on_the_hub(run, model):
    manifest = read_manifest(run)
    text = model_card(run, repo_id="me/cards")
    assert f"{manifest['parameters']:,}" in text
    assert "cardsynth generate --model me/cards --seeds 0-63 --label WHITE_MARKS" in text
    assert "CLEAN, FULL_CARD, LIGHT, SMALL, WHITE_MARKS" in text
    assert pull_run(run, kinds=(manifest["kind"],)) == run
    sampled = sum(value.numel() for value in model.net.parameters())
    assert manifest["parameters"] == sampled


def test_a_run_without_its_net_is_not_opened(run, tmp_path):
    for name in ("settings.json", "manifest.json"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    with pytest.raises(HubError, match=r"lacks (generator|vae)/config.json"):
        open_model(tmp_path)


def test_the_doctor_looks_over_a_baseline(run, cards):
    found = diagnose(run, cards, count=10, progress=False)
    assert "10 cards drawn" in found.looked_at or "15 cards drawn" in found.looked_at
    names = {finding.name for finding in found.findings}
    assert not names & {"learning rate too high", "loss not falling", "averaged weights lag behind"}
    assert not [note for note in found.notes if "cannot be read" in note]


def test_losses_of_both_players_are_logged_and_drawn(baseline_runs):
    for kind, names in {"dcgan": ("generator loss", "discriminator loss"), "vae": ("reconstruction", "kl")}.items():
        axes = plot_losses(read_log(baseline_runs[kind])).axes[0]
        assert [line.get_label() for line in axes.lines] == list(names)
        assert all(len(line.get_xdata()) == 16 for line in axes.lines)
    with pytest.raises(ValueError, match="take plot_log"):
        plot_losses([{"step": 1, "loss": 1.0}])


class OneCard(BaselineModel):
    """Draws a card a class, whatever the latent."""

    def decode(self, latents, class_weights=None):
        return super().decode(torch.zeros_like(latents), class_weights)


def test_variety_is_that_of_the_cards(baseline_runs, cards):
    probe, model = VarietyProbe(cards), load_baseline(baseline_runs["dcgan"])
    assert probe.measure(model) > 0.02
    collapsed = OneCard(**{name: getattr(model, name) for name in model.__dataclass_fields__})
    assert probe.measure(collapsed) == 0

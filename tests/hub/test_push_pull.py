import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hub_client import TOKEN, hub_client
from hub_server import LFS_SUFFIXES, Hub
from PIL import Image
from tiny_folders import contents, make_cards, make_run, uploaded_part

from cardsynth.formats.export import export_cards
from cardsynth.hub.push_pull import HubError, pull_run, push_cards, push_run


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    plain, full = make_run(folder / "plain"), make_run(folder / "full run", ("LIGHT", "SMALL"), mask=True)
    (full / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n# Mine\n")
    with Hub({TOKEN: "alice"}) as hub:
        yield SimpleNamespace(hub=hub, folder=folder, plain=plain, full=full, cards=make_cards(folder / "cards"))


@pytest.fixture(scope="module")
def client(place):
    with hub_client(place.hub, place.folder) as client:
        yield client


@pytest.mark.slow
def test_pushed_rgb_run_is_pulled_and_opened_by_diffusers(place, client):
    before = contents(place.plain)
    answers = client("""
import torch
from diffusers import DDPMPipeline, UNet2DModel
attempt("url", lambda: push_run("plain", "alice/plain", private=True))
attempt("again", lambda: push_run("plain", "plain", commit_message="Second"))
attempt("nobody", lambda: pull_run("alice/plain", token=os.environ["WRONG_TOKEN"]))
attempt("pulled", lambda: pull_run("alice/plain"))
pipeline = DDPMPipeline.from_pretrained("alice/plain")
image = pipeline(num_inference_steps=2).images[0]
answers["picture"] = [image.size, image.mode]
unet = UNet2DModel.from_pretrained("alice/plain", subfolder="unet").state_dict()
trained = UNet2DModel.from_pretrained("plain", subfolder="unet").state_dict()
answers["equal"] = unet.keys() == trained.keys() and all(torch.equal(unet[key], trained[key]) for key in trained)
""")
    repository = place.hub.repositories["models", "alice/plain"]
    assert repository.private
    assert repository.messages == [
        "initial commit",
        "Upload plain with cardsynth",
        "Upload plain with cardsynth (README.md)",
        "Second",
        "Second (README.md)",
    ]
    readme = repository.files["README.md"].decode()
    assert {k: v for k, v in repository.files.items() if k not in ("README.md", ".gitattributes")} == uploaded_part(
        place.plain
    )
    assert "cardsynth generate --model alice/plain " in readme
    assert answers["url"] == answers["again"] == f"{place.hub.url}/alice/plain"
    pulled = contents(Path(answers["pulled"]))
    assert {name: pulled.get(name) for name in uploaded_part(place.plain)} == uploaded_part(place.plain)
    assert answers["nobody"].startswith("HubError")
    assert "does not accept the token" in answers["nobody"]
    assert answers["picture"] == [[8, 16], "RGB"]
    assert answers["equal"] is True
    assert contents(place.plain) == before


@pytest.mark.slow
def test_pushed_cards_open_with_load_dataset(place, client):
    before = contents(place.cards)
    answers = client("""
from datasets import load_dataset
attempt("url", lambda: push_cards("cards", "alice/cards"))
cards = load_dataset("alice/cards", split="train")
answers["columns"] = sorted(cards.column_names)
answers["rows"] = [
    [row["image"].getpixel((0, 0)), row["mask"].mode, row["mask"].getpixel((0, 0)), row["label"], row["objects"]]
    for row in cards
]
""")
    repository = place.hub.repositories["datasets", "alice/cards"]
    assert not repository.private
    others = {k: v for k, v in repository.files.items() if k not in ("README.md", ".gitattributes")}
    assert others == uploaded_part(place.cards) == {k: v for k, v in before.items() if k[0] != "."}
    assert 'load_dataset("alice/cards"' in repository.files["README.md"].decode()
    assert answers["url"] == f"{place.hub.url}/datasets/alice/cards"
    assert answers["columns"] == ["image", "label", "mask", "objects", "seed"]
    boxes = [{"bbox": [[0, 0, 2, 2]], "categories": [label]} for label in ("FULL_CARD", "SMALL")]
    assert answers["rows"] == [
        [[0, 7, 9], "L", 0, "FULL_CARD", boxes[0]],
        [[1, 7, 9], "L", 255, "SMALL", boxes[1]],
    ]


@pytest.mark.slow
def test_exported_cards_are_pushed_and_open_with_load_dataset(place, client):
    export_cards(place.cards, place.folder / "exported", "hub")
    answers = client("""
from datasets import load_dataset
attempt("url", lambda: push_cards("exported", "alice/exported"))
cards = load_dataset("alice/exported")
answers["splits"] = {split: len(part) for split, part in cards.items()}
answers["rows"] = [
    [row["image"].getpixel((0, 0)), row["mask"].getpixel((0, 0)), row["objects"]["bbox"]] for row in cards["train"]
]
answers["categories"] = cards["train"].features["objects"]["category"].feature.names
""")
    assert answers["url"] == f"{place.hub.url}/datasets/alice/exported"
    assert answers["splits"] == {"train": 2}
    assert answers["rows"] == [[[0, 7, 9], 0, []], [[1, 7, 9], 255, [[0, 0, 8, 16]]]]
    assert answers["categories"] == ["SMALL"]
    assert "| SMALL | 1 |" in place.hub.repositories["datasets", "alice/exported"].files["README.md"].decode()


@pytest.mark.slow
def test_own_readme_is_kept_and_checkpoints_are_not_pulled(place, client):
    answers = client('attempt("url", lambda: push_run("full run", "alice/full"))')
    repository = place.hub.repositories["models", "alice/full"]
    assert repository.files["README.md"] == (place.full / "README.md").read_bytes()
    repository.commit({**repository.files, "checkpoints/step_1/x.bin": b"x", "tensorboard/e": b"x"}, "by hand")
    first = list(repository.commits)[1]
    answers = client(f"""
attempt("pulled", lambda: pull_run("alice/full"))
attempt("first", lambda: pull_run("alice/full", revision="{first}"))
attempt("no revision", lambda: pull_run("alice/full", revision="v9"))
""")
    assert set(contents(Path(answers["pulled"]))) == set(uploaded_part(place.full)) | {".gitattributes"}
    assert Path(answers["first"]).name == first
    assert answers["no revision"].startswith("HubError")
    assert "no revision v9" in answers["no revision"]


@pytest.mark.slow
def test_refusals_are_explained(place, client):
    place.hub.repositories.pop(("models", "alice/open"), None)
    answers = client("""
attempt("open", lambda: push_run("plain", "alice/open"))
attempt("private", lambda: push_run("plain", "alice/open", private=True))
attempt("wrong token", lambda: push_run("plain", "alice/x", token=os.environ["WRONG_TOKEN"]))
attempt("odd token", lambda: push_run("plain", "alice/x", token=os.environ["WRONG_TOKEN"] + "\\n" + "x"))
attempt("forbidden", lambda: push_run("full run", "bob/x", private=True))
attempt("missing", lambda: pull_run("alice/nothing"))
attempt("malformed", lambda: pull_run("runs/alice/nothing"))
""")
    assert answers["open"] == f"{place.hub.url}/alice/open"
    assert "exists and is public. Nothing was uploaded." in answers["private"]
    assert len(place.hub.repositories["models", "alice/open"].commits) == 3  # the first push: folder, then README.md
    assert "does not accept the token" in answers["wrong token"]
    assert "hf auth login" in answers["wrong token"]
    assert "Try again with:\n  cardsynth push --model plain --repo-id alice/x" in answers["wrong token"]
    assert "Copy it again" in answers["odd token"]
    assert "no right to write to bob/x" in answers["forbidden"]
    assert answers["forbidden"].endswith("cardsynth push --model 'full run' --repo-id bob/x --private")
    assert "has no alice/nothing" in answers["missing"]
    assert "no run folder alice/nothing" in answers["missing"]
    assert "'runs/alice/nothing' is no repository id" in answers["malformed"]
    assert all(answer.startswith("HubError") for name, answer in answers.items() if name != "open")
    without = client('attempt("push", lambda: push_run("plain", "alice/x"))', token=None)["push"]
    assert without.startswith("HubError")
    assert "no Hugging Face token found" in without
    assert "HF_TOKEN" in without
    assert ("models", "alice/x") not in place.hub.repositories


@pytest.mark.slow
def test_upload_survives_a_server_that_dies_midway(place, client):
    before, hub = contents(place.full), place.hub
    hub.lfs.clear()
    push = """
from unittest.mock import patch
with patch("huggingface_hub.utils._http.time.sleep"):
    attempt("push", lambda: push_run("full run", "alice/late"))
"""
    hub.puts_before_death = 1
    try:
        died = client(push)["push"]
    finally:
        hub.puts_before_death = None
    assert died.startswith("HubError")
    assert "the connection broke off" in died
    assert (
        f"Nothing was lost: {place.full.name} is unchanged. Try again with:\n  cardsynth push --model 'full run'"
        in died
    )
    assert list(hub.repositories["models", "alice/late"].files) == [".gitattributes"]
    assert len(hub.lfs) == 1
    hub.status = 503
    try:
        trouble = client(push)["push"]
        unreachable = client(push, HF_ENDPOINT="http://127.0.0.1:9")["push"]
    finally:
        hub.status = None
    assert "it answered 503" in trouble
    assert "Try again with" in trouble
    assert "http://127.0.0.1:9 cannot be reached" in unreachable
    assert client(push)["push"] == f"{hub.url}/alice/late"
    arrived = {k: v for k, v in hub.repositories["models", "alice/late"].files.items() if k != ".gitattributes"}
    assert arrived == uploaded_part(place.full)
    assert contents(place.full) == before


def test_too_many_requests_are_refused_with_the_time_to_wait(place, client):
    place.hub.status, place.hub.retry_after = 429, 17
    try:
        answer = client("""
from unittest.mock import patch
with patch("huggingface_hub.utils._http.time.sleep"):
    attempt("push", lambda: push_run("plain", "alice/busy", tag="v 1"))
""")["push"]
    finally:
        place.hub.status, place.hub.retry_after = None, 0
    assert answer.startswith("HubError")
    assert "(429). Wait 17 s." in answer
    assert answer.endswith("cardsynth push --model plain --repo-id alice/busy --tag 'v 1'")


def test_a_large_upload_is_split_into_commits_and_resumed(place, client):
    """With hf_xet, huggingface_hub commits 250 files at a time, waits when told to, and resumes where it stopped."""
    cards, hub = place.folder / "many", place.hub
    cards.mkdir()
    rows = []
    for number in range(300):
        Image.new("RGB", (1, 1), (number % 256, 0, 0)).save(cards / f"{number:03d}.png")
        rows.append(json.dumps({"file_name": f"{number:03d}.png"}) + "\n")
    (cards / "metadata.jsonl").write_text("".join(rows))
    push = """
from unittest.mock import patch
with patch("huggingface_hub.utils._http.time.sleep"):
    attempt("push", lambda: push_cards("many", "alice/many"))
"""
    hub.lfs_suffixes = ()
    hub.commit_statuses = [200, *[403] * 50]
    try:
        stopped = client(push, HF_HUB_DISABLE_XET="0")["push"]
        repository = hub.repositories["datasets", "alice/many"]
        assert "no right to write to alice/many" in stopped
        assert len(repository.files) == 251  # and .gitattributes
        hub.commit_statuses = [429]
        assert client(push, HF_HUB_DISABLE_XET="0")["push"] == f"{hub.url}/datasets/alice/many"
    finally:
        hub.lfs_suffixes, hub.commit_statuses = LFS_SUFFIXES, []
    message = "Upload many with cardsynth"
    assert repository.messages[1:] == [message, message, f"{message} (part 2)", f"{message} (README.md)"]
    assert {name for name in repository.files if name[0] != "."} == {*uploaded_part(cards), "README.md"}


@pytest.fixture
def no_contact(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the Hub was contacted")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setenv("HF_TOKEN", TOKEN)


@pytest.mark.parametrize("piece", ["model_index.json", "unet/diffusion_pytorch_model.safetensors", "manifest.json"])
def test_incomplete_run_is_not_pushed(tmp_path, no_contact, piece):
    run = make_run(tmp_path / "run")
    (run / piece).unlink()
    with pytest.raises(HubError, match=f"lacks {piece.replace('diffusion_pytorch_model', '.')}"):
        push_run(run, "alice/run")


def test_bad_input_is_named_before_the_hub_is_contacted(place, tmp_path, no_contact):
    with pytest.raises(HubError, match="no folder"):
        push_run(tmp_path / "nowhere", "alice/run")
    with pytest.raises(HubError, match="'alice/a/b' is no repository id"):
        push_run(place.plain, "alice/a/b")
    with pytest.raises(HubError, match=r"lacks metadata\.jsonl"):
        push_cards(place.plain, "alice/cards")
    with pytest.raises(HubError, match="is no run folder"):
        pull_run(place.cards)
    assert pull_run(str(place.plain)) == place.plain
    assert pull_run(place.plain, kinds=("vae", "diffusion")) == place.plain
    with pytest.raises(
        HubError, match=r"holds a model of kind diffusion, but .* kind dcgan or vae is wanted.*generate"
    ):
        pull_run(place.plain, kinds=("dcgan", "vae"))
    with pytest.raises(HubError, match=r"is no run folder of kind dcgan: it lacks manifest\.json"):
        pull_run(place.cards, kinds=("dcgan",))
    cards = make_cards(tmp_path / "cards")
    (cards / "masks/SMALL/000001.png").unlink()
    with pytest.raises(HubError, match=r"masks/SMALL/000001\.png"):
        push_cards(cards, "alice/cards")
    (cards / "metadata.jsonl").write_text('{"file_name": "FULL_CARD/000000.png"}\n{"file_na')
    with pytest.raises(HubError, match="line 2"):
        push_cards(cards, "alice/cards")
    run = make_run(tmp_path / "run")
    (run / "manifest.json").write_text('{"labels": [')
    with pytest.raises(HubError, match=r"manifest\.json does not hold a JSON object"):
        push_run(run, "alice/run")


@pytest.mark.skipif(sys.platform == "win32", reason="links need special rights on Windows")
def test_link_that_leads_out_of_the_folder_is_not_published(place, tmp_path, no_contact):
    cards = make_cards(tmp_path / "cards")
    (cards / "secret.txt").symlink_to(place.cards / "metadata.jsonl")
    with pytest.raises(HubError, match=r"secret\.txt is a link that leads out"):
        push_cards(cards, "alice/cards")


@pytest.mark.slow
def test_a_pushed_damage_finder_is_found_with_anywhere(place, client):
    import torch

    from cardsynth.cards.dataset import Cards
    from cardsynth.finder.config import FinderConfig
    from cardsynth.finder.train import train_finder

    config = FinderConfig(height=16, width=16, encoder_name="tu-test_resnet", encoder_depth=2, decoder_channels=(8, 8))
    config = config.replace(max_train_steps=1, train_batch_size=2)
    cards = Cards(torch.zeros(7, 4, 16, 16, dtype=torch.uint8), torch.zeros(7, dtype=torch.long))
    for _ in train_finder(config, cards, place.folder / "finder", labels=("LIGHT", "SMALL")):
        pass
    answers = client("""
import sys
from cardsynth.__main__ import main
def command(*arguments):
    sys.argv = ["cardsynth", *arguments]
    main()
command("push", "--run", "finder", "--repo-id", "alice/finder")
command("find", "cards", "--model", "alice/finder", "--out", "found")
import segmentation_models_pytorch as smp
answers["channels"] = smp.from_pretrained("alice/finder").segmentation_head[0].out_channels
""")
    assert answers == {"channels": 3}
    readme = place.hub.repositories["models", "alice/finder"].files["README.md"].decode()
    assert "cardsynth find my_cards --model alice/finder" in readme
    assert "background, then LIGHT, SMALL" in readme
    assert str(place.folder) not in readme
    assert len((place.folder / "found/metadata.jsonl").read_text().splitlines()) == 2

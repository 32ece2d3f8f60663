"""Push and pull runs and card folders to and from the Hugging Face Hub."""

import shlex
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import filter_repo_objects

from cardsynth.cards.folder import metadata_file, picture_keys, read_metadata
from cardsynth.hub.errors import LOG_IN, HubError, ask_hub, find_token
from cardsynth.hub.kind import RUN_FILES
from cardsynth.hub.model_card import cards_card, describe_run, model_card

Content = TypeVar("Content")

FILES_PER_FOLDER = 10_000  # https://huggingface.co/docs/hub/storage-limits
# Patterns of `fnmatch`, in which * also matches a slash: the content of a folder that matches is left out too.
HIDDEN = [".*", "*/.*", "__pycache__/*", "*/__pycache__/*"]
ENDINGS = ("~", ".tmp", ".tmp[-._]*", ".temp", ".part", ".partial", ".incomplete", ".lock", ".swp", ".pyc")
TEMPORARY = [*HIDDEN, *(f"*{ending}{content}" for ending in ENDINGS for content in ("", "/*"))]
LEFT_OUT = ["checkpoints/*", "tensorboard/*", "prior/*"]  # of a run


@dataclass(frozen=True)
class Upload:
    """A folder to upload, and the repository that receives it. For the options see `push_run`."""

    folder: Path
    repo_id: str
    repo_type: str
    private: bool
    token: str | None
    commit_message: str | None
    tag: str | None

    @property
    def command(self) -> str:
        """The command that uploads this folder."""
        option = "--model" if self.repo_type == "model" else "--data"
        command = f"cardsynth push {option} {shlex.quote(str(self.folder))} --repo-id {self.repo_id}"
        return command + (f" --tag {shlex.quote(self.tag)}" if self.tag else "") + " --private" * self.private

    @property
    def ignored(self) -> list[str]:
        """Patterns of files that stay on this machine."""
        return TEMPORARY + (LEFT_OUT if self.repo_type == "model" else [])

    def files(self) -> list[Path]:
        """Return the files to upload.

        Raises:
            HubError: If a link leads out of the folder.
        """
        root = self.folder.resolve()
        names = (path.relative_to(self.folder).as_posix() for path in sorted(self.folder.rglob("*")) if path.is_file())
        files = [self.folder / name for name in filter_repo_objects(names, ignore_patterns=self.ignored)]
        if links := [file for file in files if not file.resolve().is_relative_to(root)]:
            raise HubError(
                f"{links[0]} is a link that leads out of {self.folder}. Nothing was uploaded. Copy or remove it."
            )
        return files


def push_run(
    run: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    commit_message: str | None = None,
    tag: str | None = None,
) -> str:
    """Upload a run folder of any kind as a model.

    Creates the repository if it is missing. `checkpoints/`, `tensorboard/`, `prior/` and temporary files are not
    uploaded. If the run has no README.md, its model card is uploaded as one. The run folder is never written to.

    Args:
        run: Run folder.
        repo_id: Repository on the Hub, like `name/model`.
        private: Make the repository private.
        token: Access token. Default: the one of `hf auth login` or HF_TOKEN.
        commit_message: Default: `Upload RUN with cardsynth`.
        tag: Name of this version, like `v2`, by which it can be pulled as a revision.

    Returns:
        Address of the repository's page.

    Raises:
        HubError: If the folder is not a complete run or the upload fails. The message says how to try again.
    """
    upload = Upload(Path(run).expanduser(), repo_id, "model", private, token, commit_message, tag)
    manifest = _read(describe_run, upload.folder)
    _require(upload.folder, dict.fromkeys((*manifest["files"], *RUN_FILES)), "complete run folder")
    _read(model_card, upload.folder)
    upload.files()
    return _push(upload, model_card)


def push_cards(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    commit_message: str | None = None,
    tag: str | None = None,
) -> str:
    """Upload a card folder, or an export in the format `hub`, as a data set that `load_dataset(repo_id)` opens.

    Creates the repository if it is missing. If the folder has no README.md, `cards_card` is uploaded as one. The folder
    is never written to. For the other arguments see `push_run`; `load_dataset(repo_id, revision=tag)` opens a tagged
    version.

    Returns:
        Address of the repository's page.

    Raises:
        HubError: If the folder is no card folder, names missing files or is too large, or if the upload fails.
    """
    upload = Upload(Path(folder).expanduser(), repo_id, "dataset", private, token, commit_message, tag)
    folder, files = upload.folder, upload.files()
    _require(folder, (), "card folder")
    metadata = metadata_file(folder)
    if metadata:
        _check_pictures(folder, metadata, files)
    elif any(folder.glob("data/*.parquet")):
        _require(folder, ("README.md",), "exported data set")
    else:
        raise HubError(f"{folder} is no card folder: it lacks metadata.jsonl (or .csv). Nothing was uploaded.")
    counts = Counter(str(file.parent) for file in files)
    if crowded := [parent for parent, count in counts.items() if count > FILES_PER_FOLDER]:
        raise HubError(
            f"{_some(crowded)}: more than {FILES_PER_FOLDER:,} files in one folder, which the Hub refuses. Nothing was"
            " uploaded. Push the cards in smaller card folders, or with the cards of each class in a folder of its own."
        )
    return _push(upload, cards_card)


def pull_run(
    model: str | Path, *, revision: str | None = None, token: str | None = None, kinds: tuple[str, ...] = ()
) -> Path:
    """Return a run folder on this machine, downloaded from the Hub if necessary.

    Downloads are kept in the cache of huggingface_hub and are used if the Hub cannot be reached. `checkpoints/`,
    `tensorboard/` and `prior/` are not downloaded.

    Args:
        model: Run folder, or id of a model on the Hub.
        revision: Branch, tag or commit on the Hub.
        token: Access token. Default: the one of `hf auth login` or HF_TOKEN.
        kinds: Accepted kinds, as in manifests, like `diffusion`. Default: any.

    Returns:
        `model` itself if it is a folder, otherwise the folder of the download.

    Raises:
        HubError: If there is no such run, it is incomplete or of another kind, or the download fails.
    """
    path = Path(model).expanduser()
    if path.exists():
        return _check_run(path, kinds, "")
    repo_id = str(model)

    def download(token: str | None) -> str:
        return snapshot_download(repo_id, revision=revision, token=token, ignore_patterns=LEFT_OUT)

    failure = f"There is no run folder {repo_id} here, and pulling it from the Hub failed"
    return _check_run(Path(ask_hub(download, failure, repo_id, revision, token)), kinds, f" (pulled from {repo_id})")


def _push(upload: Upload, write_card: Callable[..., str]) -> str:
    folder, repo_id, repo_type = upload.folder, upload.repo_id, upload.repo_type
    failure = f"Pushing {folder} to {repo_id} failed"
    advice = f"\nNothing was lost: {folder} is unchanged. Try again with:\n  {upload.command}"
    token = find_token(upload.token)
    if not token:
        raise HubError(f"{failure}: no Hugging Face token found. {LOG_IN}{advice}")
    api = HfApi(token=token, library_name="cardsynth")

    def send(_: str | None) -> str:
        full_id = repo_id if "/" in repo_id else f"{api.whoami()['name']}/{repo_id}"
        card = None if (folder / "README.md").is_file() else write_card(folder, repo_id=full_id)
        url = api.create_repo(full_id, repo_type=repo_type, private=upload.private, exist_ok=True)
        if upload.private and not api.repo_info(full_id, repo_type=repo_type).private:
            raise HubError(
                f"{failure}: you asked for a private repository, but {url} exists and is public. Nothing was uploaded."
                " Make it private in its settings there, or choose another id."
            )
        target: dict[str, Any] = {"repo_id": full_id, "repo_type": repo_type}
        message = upload.commit_message or f"Upload {folder.resolve().name} with cardsynth"
        api.upload_folder(**target, folder_path=folder, ignore_patterns=upload.ignored, commit_message=message)
        if card:
            message += " (README.md)"
            api.upload_file(**target, path_or_fileobj=card.encode(), path_in_repo="README.md", commit_message=message)
        if upload.tag:
            _create_tag(api, upload.tag, **target)
        return str(url)

    return ask_hub(send, failure, repo_id, token=token, advice=advice)


def _create_tag(api: HfApi, tag: str, repo_id: str, repo_type: str) -> None:
    try:
        api.create_tag(repo_id, tag=tag, repo_type=repo_type)
    except HfHubHTTPError as error:
        if error.response.status_code != 409:
            raise
        raise HubError(
            f"The files are uploaded, but {repo_id} has a version {tag} already, which stays as it is. Push again with"
            " another --tag: unchanged files are not uploaded again."
        ) from None


def _check_pictures(folder: Path, metadata: Path, files: list[Path]) -> None:
    uploaded = {file.relative_to(folder).as_posix() for file in files}
    picture_names = [row[key] for row in _read(read_metadata, metadata) for key in picture_keys(row)]
    if not picture_names:
        raise HubError(f"{folder} is no card folder: no row of {metadata.name} has a file_name. Nothing was uploaded.")
    if missing := [name for name in picture_names if name not in uploaded]:
        raise HubError(
            f"{folder} is not complete: {metadata.name} names {len(missing)} file(s) that are not in the folder,"
            f" {_some(missing)}. Nothing was uploaded. Restore them, or remove their rows."
        )


def _check_run(folder: Path, kinds: tuple[str, ...], origin: str) -> Path:
    manifest = _read(describe_run, folder)
    description = f"run folder of kind {' or '.join(kinds) or manifest['kind']}{origin}"
    if kinds and manifest["kind"] not in kinds:
        _require(folder, ("manifest.json",), description)
        content = f"a model of kind {manifest['kind']}"
        raise HubError(f"{folder} holds {content}, but a {description} is wanted here. {manifest['use']}".rstrip())
    _require(folder, manifest["files"], description)
    return folder


def _require(folder: Path, patterns: Iterable[str], description: str) -> None:
    if not folder.is_dir():
        raise HubError(f"There is no folder {folder}. Check the path.")
    if missing := [pattern for pattern in patterns if not any(folder.glob(pattern))]:
        raise HubError(f"{folder} is no {description}: it lacks {_some(missing)}. Nothing was uploaded or changed.")


def _read(reader: Callable[[Path], Content], path: Path) -> Content:
    try:
        return reader(path)
    except ValueError as error:
        raise HubError(f"{str(error).rstrip('.')}. Nothing was uploaded or changed.") from error


def _some(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")

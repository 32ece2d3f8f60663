"""Push and pull runs and card folders to and from the Hugging Face Hub."""

import os
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from huggingface_hub import CommitOperationAdd, HfApi, get_token, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id

from cardsynth.cards.folder import metadata_file, picture_keys, read_metadata
from cardsynth.hub.errors import LOG_IN, HubError, reason_of
from cardsynth.hub.kinds import SETTINGS, Kind, kind_of
from cardsynth.hub.model_card import cards_card

Answer = TypeVar("Answer")

LEFT_OUT_FOLDERS = ("checkpoints", "tensorboard", "prior")
TEMPORARY = re.compile(r"^\.|^__pycache__$|~$|\.(tmp|temp|part|partial|lock|incomplete|swp|pyc)$|\.tmp[-._]")
FILES_PER_FOLDER = 10_000  # https://huggingface.co/docs/hub/storage-limits


def push_run(
    run: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    commit_message: str | None = None,
    tag: str | None = None,
) -> str:
    """Upload a run folder of any kind as a model, in one commit, and return the address of its page.

    The repository is made if it is missing. `checkpoints/`, `tensorboard/` and temporary files stay here; the run's own
    README.md is kept, or else the model card of its kind is uploaded in its place. The run folder is never written to.
    `token` defaults to the one that you logged in with. tag: name of this version, like v2, by which it can be pulled
    as a revision.
    Raises HubError if the folder is not a run, or if the upload fails; it says how to try again.
    """
    run = Path(run).expanduser()
    _require(run, (), "run folder")
    kind = _read(kind_of, run)
    _require(run, tuple(dict.fromkeys((*kind.pieces, *SETTINGS))), "run folder (settings, manifest and model)")
    _read(kind.readme, run)
    command = f"cardsynth push --run {shlex.quote(str(run))}"
    files = list(_files(run, LEFT_OUT_FOLDERS))
    return _push(run, files, "model", kind.readme, command, repo_id, private, token, commit_message, tag)


def push_cards(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    commit_message: str | None = None,
    tag: str | None = None,
) -> str:
    """Upload a card folder as a data set that `load_dataset(repo_id)` opens, and return the address of its page.

    The repository is made if it is missing. The folder's own README.md is kept, or else `cards_card` is uploaded in its
    place. The folder is never written to. `token` defaults to the one that you logged in with. tag: name of this
    version, like v2, by which `load_dataset(repo_id, revision=tag)` opens it whatever comes later. Also uploads a data
    set that `cardsynth export --format hub` wrote.
    Raises HubError if the folder is not a card folder or names missing files, or if the upload fails.
    """
    folder = Path(folder).expanduser()
    command = f"cardsynth push --cards {shlex.quote(str(folder))}"
    metadata = metadata_file(folder)
    if metadata is None and any(folder.glob("data/*.parquet")):
        _require(folder, ("README.md",), "exported data set")
        files = list(_files(folder))
        return _push(folder, files, "dataset", cards_card, command, repo_id, private, token, commit_message, tag)
    _require(folder, (), "card folder")
    if metadata is None:
        raise HubError(f"{folder} is no card folder: it lacks metadata.jsonl (or .csv). Nothing was uploaded.")
    files = list(_files(folder))
    present = {file.relative_to(folder).as_posix() for file in files}
    rows = _read(read_metadata, metadata)
    named = [row[key] for row in rows for key in picture_keys(row)]
    if missing := [name for name in named if name not in present]:
        raise HubError(
            f"{folder} is not complete: {metadata.name} names {len(missing)} file(s) that are not in the folder, "
            f"{_some(missing)}. Nothing was uploaded. Restore them, or remove their rows."
        )
    if not named:
        raise HubError(f"{folder} is no card folder: no row of {metadata.name} has a file_name. Nothing was uploaded.")
    crowds = Counter(str(file.parent) for file in files)
    if crowded := [parent for parent, count in crowds.items() if count > FILES_PER_FOLDER]:
        raise HubError(
            f"{_some(crowded)}: more than {FILES_PER_FOLDER:,} files in one folder, which the Hub refuses. Nothing was "
            "uploaded. Push the cards in smaller card folders, or with the cards of each class in a folder of its own."
        )
    command = f"cardsynth push --cards {shlex.quote(str(folder))}"
    return _push(folder, files, "dataset", cards_card, command, repo_id, private, token, commit_message, tag)


def pull_run(
    model: str | Path,
    *,
    revision: str | None = None,
    token: str | None = None,
    kinds: tuple[Kind, ...] = (),
) -> Path:
    """Return a run folder on this machine: `model` itself if it is one, else a download of the Hub model of that id.

    `revision` is a branch, tag or commit on the Hub. kinds: those that it may be of, the first of which it is taken for
    where it is of none of them; default: any. Downloads lie in the Hub's cache, are not fetched again, and serve where
    the Hub cannot be asked; `checkpoints/` and `tensorboard/` are left out.
    Raises HubError if `model` is neither a run folder nor a model on the Hub, or if the download fails.
    """
    path = Path(model).expanduser()
    if path.exists():
        return _whole(path, kinds, "run folder")
    repo_id = str(model)
    if _malformed(repo_id):
        raise HubError(f"There is no run folder {repo_id}, and it is no Hub id like USER/NAME either. Check the path.")
    unwanted = [f"{name}/*" for name in LEFT_OUT_FOLDERS]
    what = f"There is no run folder {repo_id} here, and pulling it from the Hub failed"

    where = {"revision": revision, "ignore_patterns": unwanted}
    folder = Path(ask_hub(lambda key: snapshot_download(repo_id, token=key, **where), what, repo_id, revision, token))
    return _whole(folder, kinds, f"run folder (it is what the Hub holds as {repo_id})")


def ask_hub(
    request: Callable[[str | None], Answer],
    what: str,
    repo_id: str,
    revision: str | None = None,
    token: str | None = None,
    then: str = "",
) -> Answer:
    """The answer to a request that is called with the token (default: the one that you logged in with).

    Raises HubError for whatever goes wrong: `what` failed, the reason and the remedy, and `then`, without the token.
    """
    token = _token(token)
    try:
        return request(token)
    except HubError:
        raise
    except Exception as error:
        message = f"{what}: {reason_of(error, repo_id, revision)}{then}"
    # Raised out here: an original that holds the token must not travel along as this error's context.
    for secret in filter(None, (token, get_token())):
        message = message.replace(secret, "***")
    raise HubError(re.sub(r"hf_\w{8,}", "hf_***", message))


def _push(
    folder: Path,
    files: list[Path],
    repo_type: str,
    readme: Callable[..., str],
    command: str,
    repo_id: str,
    private: bool,
    token: str | None,
    commit_message: str | None,
    tag: str | None,
) -> str:
    if _malformed(repo_id):
        raise HubError(
            f"{repo_id!r} is no repository id. Nothing was uploaded. Use NAME or USER/NAME: letters, digits, '-', '_' "
            "and '.', no '--' or '..', 96 characters at most."
        )
    retry = f"{command} --repo-id {repo_id}{' --private' if private else ''}"
    failed = f"Pushing {folder} to {repo_id} failed"
    unharmed = f"Nothing was lost: {folder} is unchanged. Try again with:\n  {retry}"
    token = _token(token)
    if not token:
        raise HubError(f"{failed}: no Hugging Face token found. {LOG_IN}\n{unharmed}")
    api = HfApi(token=token, library_name="cardsynth")

    def request(_: str | None) -> str:
        full_id = repo_id if "/" in repo_id else f"{api.whoami()['name']}/{repo_id}"
        additions = [CommitOperationAdd(file.relative_to(folder).as_posix(), file) for file in files]
        if not any(addition.path_in_repo == "README.md" for addition in additions):
            additions.append(CommitOperationAdd("README.md", readme(folder, repo_id=full_id).encode()))
        url = api.create_repo(full_id, repo_type=repo_type, private=private, exist_ok=True)
        if private and not api.repo_info(full_id, repo_type=repo_type).private:
            raise HubError(
                f"{failed}: you asked for a private repository, but {url} exists and is public. Nothing was uploaded. "
                "Make it private in its settings there, or choose another id."
            )
        message = commit_message or f"Upload {folder.resolve().name} with cardsynth"
        api.create_commit(full_id, additions, commit_message=message, repo_type=repo_type)
        if tag:
            _name_version(api, full_id, tag, repo_type)
        return str(url)

    return ask_hub(request, failed, repo_id, token=token, then=f"\n{unharmed}")


def _name_version(api: HfApi, repo_id: str, tag: str, repo_type: str) -> None:
    try:
        api.create_tag(repo_id, tag=tag, repo_type=repo_type)
    except HfHubHTTPError as error:
        if error.response.status_code != 409:
            raise
        known = f"The files are uploaded, but {repo_id} has a version {tag} already, which stays as it is."
        raise HubError(f"{known} Push again with another --tag: nothing is uploaded twice.") from None


def _files(folder: Path, left_out: tuple[str, ...] = ()) -> Iterator[Path]:
    root = folder.resolve()
    for parent, folders, names in os.walk(folder):
        top = Path(parent) == folder
        folders[:] = sorted(name for name in folders if not TEMPORARY.search(name) and not (top and name in left_out))
        for file in (Path(parent) / name for name in sorted(names) if not TEMPORARY.search(name)):
            if not file.resolve().is_relative_to(root):
                raise HubError(f"{file} is a link that leads out of {folder}. Nothing was uploaded. Copy or remove it.")
            if file.is_file():
                yield file


def _whole(folder: Path, kinds: tuple[Kind, ...], what: str) -> Path:
    _require(folder, (), what)
    kind = _read(kind_of, folder)
    if kinds and kind not in kinds and kind.is_whole(folder):
        names = " or ".join(one.name for one in kinds)
        raise HubError(f"{folder} holds {kind.name}, and {names} is wanted here.{kind.remedy}")
    wanted = kind if not kinds or kind in kinds else kinds[0]
    _require(folder, wanted.pieces, f"{what} of {wanted.name}")
    return folder


def _require(folder: Path, pieces: tuple[str, ...], kind: str) -> None:
    if not folder.is_dir():
        raise HubError(f"There is no folder {folder}. Check the path.")
    if missing := [piece for piece in pieces if not any(folder.glob(piece))]:
        raise HubError(f"{folder} is no {kind}: it lacks {_some(missing)}. Nothing was uploaded or changed.")


def _read(reader: Callable[[Path], Answer], path: Path) -> Answer:
    try:
        return reader(path)
    except ValueError as error:
        raise HubError(f"{str(error).rstrip('.')}. Nothing was uploaded or changed.") from error


def _some(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _malformed(repo_id: str) -> bool:
    try:
        validate_repo_id(repo_id)
    except HFValidationError:
        return True
    return False


def _token(token: str | None) -> str | None:
    token = (token or get_token() or "").strip()
    if not re.fullmatch(r"[!-~]*", token):
        raise HubError("The Hugging Face token holds blanks or other letters that no token has. Copy it again.")
    return token or None

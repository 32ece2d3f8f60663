"""What goes wrong between this machine and the Hub, in words that say what to do."""

from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

LOG_IN = "Log in with `hf auth login`, or put a token with write access into the environment variable HF_TOKEN."


class HubError(RuntimeError):
    """What went wrong between this machine and the Hub, that nothing was lost, and what to do."""


def reason_of(error: Exception, repo_id: str, revision: str | None = None) -> str:
    """Why a request for a repository failed, by the error and what led to it, and the remedy."""
    chain = [error]
    while cause := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(cause)
    statuses = [cause.response.status_code for cause in chain if getattr(cause, "response", None) is not None]
    status = statuses[-1] if statuses else None

    def among(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in chain)

    if among(OfflineModeIsEnabled):
        return "the environment variable HF_HUB_OFFLINE forbids it. Unset it."
    if among(GatedRepoError):
        return f"access to {repo_id} must be granted by its owner. Ask for it on its page."
    if among(RevisionNotFoundError):
        return f"{repo_id} has no revision {revision}. Look up its branches, tags and commits on its page."
    if among(RepositoryNotFoundError):
        return (
            f"{constants.ENDPOINT} has no {repo_id}, or it is private and not open to you. Check the spelling. {LOG_IN}"
        )
    if status == 401:
        return f"the Hub does not accept the token (401): it is wrong or has expired. {LOG_IN}"
    if status == 403:
        return (
            f"the Hub forbids it (403): the token has no right to write to {repo_id}. Use a token with write access, "
            "and an id that begins with your user name or an organisation that you may write to."
        )
    if status is not None and status >= 500:
        return f"{constants.ENDPOINT} is in trouble (it answered {status}). Wait a little."
    if any(type(cause).__module__.startswith(("httpx", "httpcore")) for cause in chain) and status is None:
        return (
            f"{constants.ENDPOINT} cannot be reached, or the connection broke off ({type(chain[-1]).__name__}: "
            f"{chain[-1]}). Check the network."
        )
    return f"{type(error).__name__}: {' '.join(str(error).split())}"

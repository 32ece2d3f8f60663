"""Requests to the Hub, and errors that state the reason and the remedy without showing a token."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from huggingface_hub import constants, errors, get_token
from huggingface_hub.utils import parse_ratelimit_headers

Answer = TypeVar("Answer")

LOG_IN = "Log in with `hf auth login`, or put a token with write access into the environment variable HF_TOKEN."
REASONS: dict[type[Exception] | int, str] = {  # by exception type (subclasses first), then by HTTP status
    errors.OfflineModeIsEnabled: "the environment variable HF_HUB_OFFLINE forbids it. Unset it.",
    errors.HFValidationError: "{repo_id!r} is no repository id. Use NAME or USER/NAME: letters, digits, '-', '_' and"
    " '.', no '--' or '..', 96 characters at most.",
    errors.GatedRepoError: "access to {repo_id} must be granted by its owner. Ask for it on its page.",
    errors.RevisionNotFoundError: "{repo_id} has no revision {revision}. Look up its branches, tags and commits on its"
    " page.",
    errors.RepositoryNotFoundError: "{endpoint} has no {repo_id}, or it is private and you have no access. Check the"
    f" spelling. {LOG_IN}",
    401: f"the Hub does not accept the token (401): it is wrong or has expired. {LOG_IN}",
    403: "the Hub forbids it (403): the token has no right to write to {repo_id}. Use a token with write access, and an"
    " id that begins with your user name or an organisation that you may write to.",
    429: "the Hub limits the number of requests and has refused this one (429). Wait {seconds} s.",
}


class HubError(RuntimeError):
    """A failed exchange with the Hub. The message states the reason, that nothing was lost, and the remedy."""


def ask_hub(
    request: Callable[[str | None], Answer],
    failure: str,
    repo_id: str,
    revision: str | None = None,
    token: str | None = None,
    advice: str = "",
) -> Answer:
    """Send a request to the Hub and translate its errors.

    Args:
        request: Function that sends the request; its argument is the token, or None if there is none.
        failure: What failed, in words: the beginning of the error message.
        repo_id: Repository that the request is about.
        revision: Branch, tag or commit that the request is about.
        token: Access token. Default: the one of `hf auth login` or HF_TOKEN.
        advice: Text that follows the reason in the error message.

    Returns:
        The return value of `request`.

    Raises:
        HubError: If the request fails for any reason. No token appears in the message.
    """
    token = find_token(token)
    try:
        return request(token)
    except HubError:
        raise
    except Exception as error:
        message = f"{failure}: {reason_of(error, repo_id, revision)}{advice}"
    # Raised outside the handler, because the original error may hold the token and would become this one's context.
    raise HubError(hide_tokens(message, token, get_token()))


def find_token(token: str | None = None) -> str | None:
    """Return the given access token or the saved one, without surrounding blanks; None if there is none.

    Raises:
        HubError: If the token has characters that no token has.
    """
    token = (token or get_token() or "").strip()
    if not re.fullmatch(r"[!-~]*", token):
        raise HubError("The Hugging Face token has blanks or other characters that no token has. Copy it again.")
    return token or None


def hide_tokens(text: str, *tokens: str | None) -> str:
    """Return a text with these tokens, and with everything that looks like an access token, replaced by asterisks."""
    for token in filter(None, tokens):
        text = text.replace(token, "***")
    return re.sub(r"hf_\w{8,}", "hf_***", text)


def reason_of(error: Exception, repo_id: str, revision: str | None = None) -> str:
    """Return why a request failed, and the remedy, from its exception and that exception's causes."""
    chain = list(_causes(error))
    responses = [cause.response for cause in chain if getattr(cause, "response", None) is not None]
    status = responses[-1].status_code if responses else None
    values = {"repo_id": repo_id, "revision": revision, "endpoint": constants.ENDPOINT}
    for key, reason in REASONS.items():
        matches = key == status if isinstance(key, int) else any(isinstance(cause, key) for cause in chain)
        if matches:
            return reason.format(**values, seconds=_seconds_to_wait(responses[-1].headers) if key == 429 else "")
    if status is not None and status >= 500:
        return f"{constants.ENDPOINT} is in trouble (it answered {status}). Wait a little."
    if status is None and any(type(cause).__module__.startswith(("httpx", "httpcore")) for cause in chain):
        return (
            f"{constants.ENDPOINT} cannot be reached, or the connection broke off ({type(chain[-1]).__name__}:"
            f" {chain[-1]}). Check the network."
        )
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _causes(error: BaseException) -> Iterator[Any]:
    yield error
    if cause := error.__cause__ or error.__context__:
        yield from _causes(cause)


def _seconds_to_wait(headers: Mapping[str, str]) -> int | str:
    limit = parse_ratelimit_headers(headers)
    return limit.reset_in_seconds if limit else headers.get("Retry-After", "60")

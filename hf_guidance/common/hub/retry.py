"""Requests that are made again where that may help."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from hf_guidance.common.hub.failures import may_pass, pause_asked, told

logger = logging.getLogger(__name__)

TRIES = 4
PATIENCE = 120.0  # seconds; a server that asks for a longer pause is not waited for

Result = TypeVar("Result")


def with_retries(call: Callable[[], Result], doing: str, token: str | bool | None = None) -> Result:
    """Call until it works, up to four times, with pauses of 1, 2 and 4 seconds, or as long as the server asks.

    Made again is what may pass by itself: 408, 425, 429 and 5xx, no answer in time, a broken connection. 401, 403 and 404 are
    final.

    Args:
        call: Makes the requests. It must be safe to make them again.
        doing: What is tried, as "publishing to org/repo", for errors and the log.
        token: The token in use, which no error shows.

    Raises:
        ValueError: There is no such repo, revision or file, the server refuses what was sent, or the token cannot be one.
        PermissionError: The token may not do this.
        ConnectionError: The server, or the way to it, fails.
    """
    _refuse_malformed(secret_of(token), doing)
    for tried in range(1, TRIES + 1):
        try:
            return call()
        except Exception as error:
            problem = told(error, doing, secret_of(token))
            if problem is error:  # not about the transfer
                raise
            pause = _pause(error, tried)
        if pause is None:
            break
        if pause > PATIENCE:
            problem = ConnectionError(f"{problem} The server asks to wait {pause:.0f} seconds.")
            break
        logger.warning("%s Trying again in %g s (%d of %d).", problem, pause, tried + 1, TRIES)
        time.sleep(pause)
    # Outside the handler: the error of huggingface_hub holds the request, and the request the token.
    raise problem


def _pause(error: BaseException, tried: int) -> float | None:
    """The seconds before the next try, None where there is none."""
    if tried == TRIES or not may_pass(error):
        return None
    asked = pause_asked(error)
    return 2.0 ** (tried - 1) if asked is None else asked


def secret_of(token: str | bool | None) -> str | None:
    """The text of the token that a request carries: the one given, or the one that the user is logged in with."""
    if isinstance(token, str):
        return token
    if token is False:
        return None
    from huggingface_hub import get_token

    found: str | None = get_token()
    return found


def _refuse_malformed(token: str | None, doing: str) -> None:
    """Refuse a token that no request can carry; that of the library below would be an error that shows it."""
    if token is None or (token and token.isascii() and token.isprintable() and " " not in token):
        return
    wrong = "is empty" if not token else "holds a line end, a space, or a character beyond ASCII"
    raise ValueError(
        f"{doing}: the token {wrong}; give it as huggingface.co/settings/tokens shows it, or leave it out."
    )

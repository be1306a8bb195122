"""One effect for one Idempotency-Key: a request that is sent again gets the first answer.

The key is claimed in the unit of work of its effect, so that both stand or neither does; a
second request with the same key waits for the first. Keys are kept for a day. What may leave
only once, such as a password, is not kept: the answer to a repeat has null in its place.
"""

import hashlib

from chargera.app.admin_ports import AdminWork, StoredAnswer
from chargera.app.permissions import Caller
from chargera.domain.errors import Conflict, InvalidInput

KEY_MAX = 128


def request_digest(method: str, path: str, body: bytes) -> bytes:
    """Return what makes two requests the same request."""
    return hashlib.sha256(b"\0".join((method.encode(), path.encode(), body))).digest()


async def claim(work: AdminWork, caller: Caller, key: str, digest: bytes) -> StoredAnswer | None:
    """Take a key for this unit of work; return the answer if its request was served before.

    Raises Conflict if the key was used for another request, InvalidInput for a malformed key.
    """
    check_key(key)
    assert caller.login_id is not None, "only logins have keys"
    answered = await work.idempotency.claim(caller.login_id, key, digest)
    if answered is not None and answered.request_digest != digest:
        raise Conflict(
            "this Idempotency-Key was used for another request",
            field="Idempotency-Key",
            remedy="use a new key for a new request",
        )
    return answered


async def remember(work: AdminWork, caller: Caller, key: str, status: int, response: bytes) -> None:
    """Keep the answer for repeats, in the commit of its effect."""
    assert caller.login_id is not None, "only logins have keys"
    await work.idempotency.remember(caller.login_id, key, status, response)


def check_key(key: str) -> None:
    """Raise InvalidInput for a malformed key."""
    if not (1 <= len(key) <= KEY_MAX and key.isascii() and key.isprintable()):
        raise InvalidInput(
            f"an Idempotency-Key has 1 to {KEY_MAX} printable ASCII characters",
            field="Idempotency-Key",
            remedy="use a random UUID for each new request",
        )

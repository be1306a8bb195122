"""Logins of people, their browser visits, and API keys: made, shown once, checked, closed.

Secrets are random and long, so their SHA-256 is stored; passwords are chosen by people, so
theirs is argon2id. A visit is what a browser's cookie stands for.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from chargera.app.access import GuessLimiter, Passwords, new_password
from chargera.app.admin_ports import AdminWork, StoredLogin
from chargera.app.permissions import Action, Caller, Role, check_role, check_scopes
from chargera.app.ports import Entropy, NewEntry
from chargera.app.views import ApiKeyView, LoginView
from chargera.domain.errors import Conflict, InvalidInput, NotFound, NotPermitted
from chargera.proofs import records
from chargera.proofs.entry import EntryKind

API_KEY_PREFIX = "c4e_"
"""So that a key found in a file or a log is recognised as one."""

OPERATOR_NAME = "operator"
LOCAL_KEY_NAME = "local command line"
VISIT_S = 12 * 3600
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._+-]{0,63}")
PASSWORD_MIN, PASSWORD_MAX = 10, 200

_NOBODY = Caller(None, "this server", Role.OPERATOR)
"""Who makes the first login: nobody else is there yet."""


@dataclass(frozen=True, slots=True)
class NewLogin:
    """A login that was made, with the password that is shown once."""

    login_id: str
    name: str
    role: Role
    password: str


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key that was made; it is shown once."""

    api_key_id: str
    name: str
    login: str
    scopes: tuple[str, ...]
    api_key: str


@dataclass(frozen=True, slots=True)
class Visit:
    """A browser's visit: the value of its cookie, and the secret that its forms carry."""

    cookie: str
    csrf_secret: str
    caller: Caller
    lasts_s: int = VISIT_S


async def ensure_operator(
    work: AdminWork, *, passwords: Passwords, entropy: Entropy, now: datetime
) -> str | None:
    """Make the first operator at the first start, and return its password; None later."""
    if await work.logins.by_name(OPERATOR_NAME) is not None:
        return None
    password = new_password(entropy)
    made = await _add(
        work,
        _NOBODY,
        OPERATOR_NAME,
        Role.OPERATOR,
        await passwords.hash(password),
        entropy=entropy,
        now=now,
    )
    return password if made else None


async def renew_local_key(work: AdminWork, *, entropy: Entropy, now: datetime) -> str:
    """Return a fresh key for the command line on this machine; the one before stops working.

    Called at each start of the server, after `ensure_operator`.
    """
    operator = await work.logins.by_name(OPERATOR_NAME)
    assert operator is not None, "the operator is made before its key"
    await work.logins.revoke_keys(LOCAL_KEY_NAME, now)
    made = await _add_key(
        work, _NOBODY, LOCAL_KEY_NAME, operator, frozenset({"all"}), entropy=entropy, now=now
    )
    return made.api_key


async def add_login(
    work: AdminWork,
    caller: Caller,
    name: str,
    role: str,
    password: str | None = None,
    *,
    passwords: Passwords,
    entropy: Entropy,
    now: datetime,
) -> NewLogin:
    """Make a login with a given or a generated password.

    Raises InvalidInput, Conflict if the name is taken, NotPermitted.
    """
    caller.require(Action.LOGINS_WRITE)
    wanted = check_role(role)
    if not NAME_PATTERN.fullmatch(name):
        raise InvalidInput(
            "a login's name has 1 to 64 characters of A-Z a-z 0-9 @ . _ + -",
            field="name",
            remedy="choose a name of these characters",
        )
    chosen = new_password(entropy) if password is None else _check_password(password)
    login_id = await _add(
        work, caller, name, wanted, await passwords.hash(chosen), entropy=entropy, now=now
    )
    if login_id is None:
        raise Conflict(
            f"there is a login '{name}' already", field="name", remedy="choose another name"
        )
    return NewLogin(login_id, name, wanted, chosen)


async def set_login_password(
    work: AdminWork,
    caller: Caller,
    name: str,
    password: str | None = None,
    *,
    passwords: Passwords,
    entropy: Entropy,
    now: datetime,
) -> str:
    """Replace a login's password, end its visits, and return the password.

    Everybody may replace their own; others' only who may write logins. Raises NotFound.
    """
    if caller.login_id is None or caller.name != name or caller.scopes is not None:
        caller.require(Action.LOGINS_WRITE)
    login = await _login(work, name)
    chosen = new_password(entropy) if password is None else _check_password(password)
    await work.logins.set_password(login.login_id, await passwords.hash(chosen))
    _append(work, "password_changed", login, caller, now)
    return chosen


async def disable_login(work: AdminWork, caller: Caller, name: str, *, now: datetime) -> None:
    """Close a login with its visits and keys. Raises NotFound, Conflict for one's own."""
    caller.require(Action.LOGINS_WRITE)
    login = await _login(work, name)
    if login.login_id == caller.login_id:
        raise Conflict(
            "this is your own login", field="name", remedy="let another operator close it"
        )
    if not login.disabled:
        await work.logins.disable(login.login_id, now)
        _append(work, "login_disabled", login, caller, now)


async def list_logins(work: AdminWork, caller: Caller) -> list[LoginView]:
    """Return all logins by name."""
    caller.require(Action.LOGINS_READ)
    return await work.logins.rows()


async def add_api_key(
    work: AdminWork,
    caller: Caller,
    name: str,
    scopes: Iterable[str],
    login: str | None = None,
    *,
    entropy: Entropy,
    now: datetime,
) -> NewApiKey:
    """Make an API key for a login, with some of its permissions.

    Without `login` it is for the login that is called `name`, if there is one, and else for the
    caller's own. A caller that is limited by scopes itself can only pass on what it has.

    Raises InvalidInput, NotFound, NotPermitted.
    """
    caller.require(Action.LOGINS_WRITE)
    if not (1 <= len(name) <= 64 and name.isprintable()):
        raise InvalidInput(
            "an API key's name has 1 to 64 printable characters",
            field="name",
            remedy="name what will use it",
        )
    wanted = check_scopes(scopes)
    owner = None if login is not None else await work.logins.by_name(name)
    if owner is None:
        owner = await _login(work, login or caller.name)
    granted = Caller(owner.login_id, owner.name, owner.role, wanted)
    exceeding = [action for action in Action if granted.may(action) and not caller.may(action)]
    if exceeding:
        raise NotPermitted(
            f"this key would allow {exceeding[0]}, which {caller.name} may not do",
            field="scopes",
            remedy="give it scopes that you have",
        )
    return await _add_key(work, caller, name, owner, wanted, entropy=entropy, now=now)


async def revoke_api_key(work: AdminWork, caller: Caller, name: str, *, now: datetime) -> None:
    """Revoke all keys of a name. Raises NotFound, NotPermitted."""
    caller.require(Action.LOGINS_WRITE)
    if not await work.logins.revoke_keys(name, now):
        raise NotFound(
            f"there is no API key '{name[:64]}' in use",
            field="name",
            remedy="`chargera api-key list` shows them",
        )
    record = records.access_record(
        "api_key_revoked", login=caller.name, role=caller.role, by=caller.name, at=now, api_key=name
    )
    work.append(NewEntry(EntryKind.ACCESS_CHANGED, None, None, record, now))


async def list_api_keys(work: AdminWork, caller: Caller) -> list[ApiKeyView]:
    """Return all API keys, newest first, without the keys themselves."""
    caller.require(Action.LOGINS_READ)
    return await work.logins.keys()


# Who is calling --------------------------------------------------------------------------------


class SignIn:
    """Checks the passwords of people; wrong ones are limited like those of stations."""

    def __init__(self, passwords: Passwords, entropy: Entropy, limiter: GuessLimiter) -> None:
        """Check with `passwords`; `limiter` counts guesses by name and by address."""
        self._passwords = passwords
        self._entropy = entropy
        self._limiter = limiter
        self._decoy: str | None = None

    async def sign_in(self, work: AdminWork, name: str, password: str, address: str) -> Visit:
        """Return a new visit.

        Raises NotPermitted, the same for every reason: no such login, wrong password, closed
        login, too many guesses.
        """
        refusal = NotPermitted(
            "name or password is wrong, or there were too many attempts",
            field="password",
            remedy="try again in a minute, or let an operator set a new password",
        )
        if len(name) > 64 or len(password) > PASSWORD_MAX:
            raise refusal
        async with self._limiter.attempt(name, address) as attempt:
            if attempt is None:
                raise refusal
            login = await work.logins.by_name(name)
            usable = login is not None and login.password_hash is not None and not login.disabled
            stored = login.password_hash if login else None
            matches = await self._passwords.verify(stored or await self._decoy_hash(), password)
            if login is None or not usable or not matches:
                raise refusal
            attempt.succeeded = True
        cookie = _secret(self._entropy)
        csrf_secret = _secret(self._entropy)
        await work.logins.add_visit(secret_hash(cookie), login.login_id, csrf_secret, VISIT_S)
        return Visit(cookie, csrf_secret, _caller(login, None))

    async def _decoy_hash(self) -> str:
        """A hash that no password matches, to spend the same work on unknown names."""
        if self._decoy is None:
            self._decoy = await self._passwords.hash(_secret(self._entropy))
        return self._decoy


async def caller_of_visit(work: AdminWork, cookie: str) -> tuple[Caller, str] | None:
    """Return who a browser's cookie stands for and its CSRF secret; None if for nobody."""
    visit = await work.logins.visit(secret_hash(cookie))
    return None if visit is None else (_caller(visit.login, None), visit.csrf_secret)


async def caller_of_key(work: AdminWork, api_key: str) -> Caller | None:
    """Return who an API key stands for; None if for nobody."""
    if not api_key.startswith(API_KEY_PREFIX):
        return None
    key = await work.logins.key(secret_hash(api_key))
    return None if key is None else _caller(key.login, key.scopes)


async def sign_out(work: AdminWork, cookie: str) -> None:
    """End a visit."""
    await work.logins.end_visit(secret_hash(cookie))


def csrf_value(csrf_secret: str) -> str:
    """Return what a form of this visit carries; it is not the cookie and does not reveal it."""
    return hmac.new(csrf_secret.encode(), b"chargera.form/1", hashlib.sha256).hexdigest()


def secret_hash(secret: str) -> bytes:
    """Return under what a random secret is stored."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _caller(login: StoredLogin, scopes: frozenset[str] | None) -> Caller:
    return Caller(login.login_id, login.name, login.role, scopes)


def _secret(entropy: Entropy) -> str:
    return base64.urlsafe_b64encode(entropy.bytes(33)).decode()


def _check_password(password: str) -> str:
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        raise InvalidInput(
            f"a password has {PASSWORD_MIN} to {PASSWORD_MAX} characters",
            field="password",
            remedy="leave it out to have one generated",
        )
    return password


async def _login(work: AdminWork, name: str) -> StoredLogin:
    login = await work.logins.by_name(name)
    if login is None:
        raise NotFound(
            f"there is no login '{name[:64]}'",
            field="name",
            remedy="`chargera login list` shows them",
        )
    return login


async def _add(
    work: AdminWork,
    caller: Caller,
    name: str,
    role: Role,
    password_hash: str,
    *,
    entropy: Entropy,
    now: datetime,
) -> str | None:
    """Insert a login with its entry and return its id; None if the name is taken."""
    login_id = entropy.session_id(now)
    if not await work.logins.add(login_id, name, role, password_hash, now):
        return None
    login = StoredLogin(login_id, name, role, password_hash, disabled=False)
    _append(work, "login_added", login, caller, now)
    return login_id


async def _add_key(
    work: AdminWork,
    caller: Caller,
    name: str,
    owner: StoredLogin,
    scopes: frozenset[str],
    *,
    entropy: Entropy,
    now: datetime,
) -> NewApiKey:
    api_key = API_KEY_PREFIX + _secret(entropy)
    api_key_id = entropy.session_id(now)
    ordered = tuple(sorted(scopes))
    await work.logins.add_key(api_key_id, name, owner.login_id, secret_hash(api_key), ordered, now)
    record = records.access_record(
        "api_key_added",
        login=owner.name,
        role=owner.role,
        by=caller.name,
        at=now,
        api_key=name,
        scopes=ordered,
    )
    work.append(NewEntry(EntryKind.ACCESS_CHANGED, None, None, record, now))
    return NewApiKey(api_key_id, name, owner.name, ordered, api_key)


def _append(
    work: AdminWork, change: str, login: StoredLogin, caller: Caller, now: datetime
) -> None:
    record = records.access_record(
        change, login=login.name, role=login.role, by=caller.name, at=now
    )
    work.append(NewEntry(EntryKind.ACCESS_CHANGED, None, None, record, now))

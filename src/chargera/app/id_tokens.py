"""Identifiers of drivers: add, import, block, expire, and erase for good."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from chargera.app.admin_ports import AdminWork, NewIdToken
from chargera.app.permissions import Action, Caller
from chargera.app.ports import NewEntry
from chargera.app.views import IdTokenView
from chargera.domain.errors import Conflict, InvalidInput, NotFound, Unreadable
from chargera.domain.messages import IdTokenRef
from chargera.domain.standard_run import is_run_identifier
from chargera.proofs import records
from chargera.proofs.entry import EntryKind

ID_TOKEN_TYPES = (
    "Central",
    "eMAID",
    "ISO14443",
    "ISO15693",
    "KeyCode",
    "Local",
    "MacAddress",
    "NoAuthorization",
)
"""OCPP 2.0.1 `IdTokenEnumType`."""

ID_TOKEN_MAX = 36
"""Characters of an `IdTokenType.idToken` in OCPP 2.0.1; 1.6 has 20."""

CSV_COLUMNS = ("id_token", "type", "blocked", "expires_at", "login")
"""Columns of an import; only `id_token` has to be there, `type` defaults to ISO14443."""

CSV_BYTES_MAX = 8 * 2**20
CSV_ROWS_MAX = 50_000
DEFAULT_TYPE = "ISO14443"

_BOOLEANS = {"": False, "0": False, "false": False, "no": False, "1": True, "true": True}
_BOOLEANS["yes"] = True


@dataclass(frozen=True, slots=True)
class IdTokenRequest:
    """An identifier that somebody wants to register; texts as they were typed."""

    id_token: str
    id_token_type: str = DEFAULT_TYPE
    blocked: bool = False
    expires_at: datetime | None = None
    login: str | None = None


@dataclass(frozen=True, slots=True)
class Imported:
    """How many rows of an import changed something, and how many said what was known."""

    added: int
    changed: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class Erased:
    """Which log entries lost their record and salt, and where its sessions were."""

    log_indexes: tuple[int, ...]
    stations: tuple[str, ...]


async def add_id_token(
    work: AdminWork, caller: Caller, wanted: IdTokenRequest, *, now: datetime
) -> NewIdToken:
    """Register an identifier; the same facts again change nothing.

    Raises InvalidInput, Conflict if it is registered with other facts, NotPermitted.
    """
    caller.require(Action.ID_TOKENS_WRITE)
    id_token = _checked(wanted, await _login_id(work, wanted.login))
    known = _of_type(await _registered(work, id_token.ref), id_token.ref.kind)
    if known is None:
        await put_id_tokens(work, caller.name, [id_token], now)
        return id_token
    if replace(id_token, ref=known.ref) != known:
        raise Conflict(
            "this identifier is registered already, with other facts",
            field="id_token",
            remedy="block, unblock or import it to change what is registered",
        )
    return known


async def set_blocked(
    work: AdminWork,
    caller: Caller,
    id_token: str,
    kind: str | None = None,
    *,
    blocked: bool,
    now: datetime,
) -> NewIdToken:
    """Block an identifier, or let it charge again; `kind` is its type, None where it has but one.

    Raises NotFound, InvalidInput if the type is needed or none, NotPermitted.
    """
    caller.require(Action.ID_TOKENS_WRITE)
    known = await _known(work, id_token, kind)
    wanted = replace(known, blocked=blocked)
    if wanted != known:
        await put_id_tokens(work, caller.name, [wanted], now)
    return wanted


async def import_csv(work: AdminWork, caller: Caller, text: bytes, *, now: datetime) -> Imported:
    """Add or change all identifiers of a CSV file, or none of them.

    The first line names the columns (`CSV_COLUMNS`); what has no column stays as it is.

    Raises Unreadable for what is no such file, InvalidInput whose `field` is `row N, COLUMN`
    (rows count from 1, without the first line) for the first value that is wrong.
    """
    caller.require(Action.ID_TOKENS_WRITE)
    rows = dict(_csv_rows(text))
    wanted = await _import_of(work, rows)
    known = await work.id_tokens.known([id_token.ref.key for id_token in wanted.values()])
    changed: list[NewIdToken] = []
    added = 0
    for number, id_token in wanted.items():
        before = _before(known.get(id_token.ref.key, []), id_token, rows[number], number)
        added += before is None
        after = id_token if before is None else _with_what_is_kept(id_token, before, rows[number])
        if after != before:
            changed.append(after)
    await put_id_tokens(work, caller.name, changed, now)
    return Imported(added, len(changed) - added, len(wanted) - len(changed))


async def list_id_tokens(
    work: AdminWork,
    caller: Caller,
    *,
    now: datetime,
    after: str | None = None,
    limit: int | None = None,
) -> list[IdTokenView]:
    """Return identifiers in order of value and type: all, or those of the caller's login.

    `after`: the `cursor_of` the last one that is known, or a value alone.
    """
    caller.require(Action.ID_TOKENS_READ)
    return await work.id_tokens.rows(
        caller, now, after=None if after is None else _place(after), limit=limit
    )


def cursor_of(row: IdTokenView) -> str:
    """Return the place of an identifier in the list, as text."""
    return f"{row.id_token} {row.type}"


def _place(cursor: str) -> IdTokenRef:
    value, _, kind = cursor.rpartition(" ")
    return IdTokenRef(value, kind) if kind in ID_TOKEN_TYPES else IdTokenRef(cursor, None)


async def erase_id_token(
    work: AdminWork, caller: Caller, id_token: str, *, reason: str, now: datetime
) -> Erased:
    """Forget a person's identifier everywhere, of whatever type; the log goes on verifying.

    Entries that hold it keep their leaf and lose record and salt, so that nobody can find the
    identifier by trying; raw frames and signed values that carry it are emptied; its sessions
    and bills stay, without it. An entry says which entries were erased, and why.

    Raises NotFound, Conflict while a session of it runs, NotPermitted.
    """
    caller.require(Action.ID_TOKENS_ERASE)
    ref = IdTokenRef(id_token, None)
    if not await _registered(work, ref):
        raise _unknown()
    indexes, stations = await work.id_tokens.erase(ref.key)
    record = records.erasure_record(indexes, reason, caller.name, now)
    work.append(NewEntry(EntryKind.RECORD_ERASED, None, None, record, now))
    return Erased(tuple(indexes), tuple(stations))


async def _registered(work: AdminWork, ref: IdTokenRef) -> list[NewIdToken]:
    return (await work.id_tokens.known([ref.key])).get(ref.key, [])


async def _known(work: AdminWork, id_token: str, kind: str | None) -> NewIdToken:
    known = await _registered(work, IdTokenRef(id_token, None))
    if kind is not None:
        one = _of_type(known, _checked_type(kind))
    elif len(known) > 1:
        kinds = ", ".join(str(each.ref.kind) for each in known)
        raise InvalidInput(
            f"this identifier is registered as {kinds}", field="type", remedy="say which is meant"
        )
    else:
        one = known[0] if known else None
    if one is None:
        raise _unknown()
    return one


def _unknown() -> NotFound:
    return NotFound(
        "there is no such identifier",
        field="id_token",
        remedy="`chargera token list` shows the registered ones",
    )


def _of_type(known: Sequence[NewIdToken], kind: str | None) -> NewIdToken | None:
    return next((one for one in known if one.ref.kind == kind), None)


async def put_id_tokens(
    work: AdminWork, by: str, id_tokens: Sequence[NewIdToken], now: datetime
) -> None:
    """Insert or replace identifiers, each with its log entry; `by` is who does it."""
    await work.id_tokens.put(id_tokens, now)
    for id_token in id_tokens:
        record = records.id_token_record(
            id_token.ref.value,
            id_token.ref.kind or DEFAULT_TYPE,
            blocked=id_token.blocked,
            expires_at=id_token.expires_at,
            login_id=id_token.login_id,
            by=by,
            at=now,
        )
        work.append(NewEntry(EntryKind.ID_TOKEN_CHANGED, None, None, record, now))


async def _login_id(work: AdminWork, name: str | None) -> str | None:
    """Return the id of a login; InvalidInput if there is none of that name."""
    if name is None:
        return None
    login = await work.logins.by_name(name)
    if login is None:
        raise InvalidInput(
            f"there is no login '{name[:64]}'",
            field="login",
            remedy=f"add it first: chargera login add {name[:64]} --role driver",
        )
    return login.login_id


def _checked(wanted: IdTokenRequest, login_id: str | None) -> NewIdToken:
    kind = _checked_type(wanted.id_token_type)
    value = wanted.id_token
    printable = value.isascii() and value.isprintable() and value == value.strip()
    if not (1 <= len(value) <= ID_TOKEN_MAX and printable):
        raise InvalidInput(
            f"an identifier has 1 to {ID_TOKEN_MAX} printable ASCII characters",
            field="id_token",
            remedy="give it as the station reads it, without spaces around it",
        )
    ref = IdTokenRef(value, kind)
    if is_run_identifier(ref.key):
        raise InvalidInput(
            "identifiers of this form are those of standard runs, which nobody pays for",
            field="id_token",
            remedy="choose another one",
        )
    return NewIdToken(ref, wanted.blocked, wanted.expires_at, login_id)


def _checked_type(text: str) -> str:
    kind = {kind.casefold(): kind for kind in ID_TOKEN_TYPES}.get(text.casefold())
    if kind is None:
        raise InvalidInput(
            f"'{text[:20]}' is not a type of identifier",
            field="type",
            remedy=f"use one of {', '.join(ID_TOKEN_TYPES)}",
        )
    return kind


# CSV -------------------------------------------------------------------------------------------


def _csv_rows(data: bytes) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (row number from 1, values by column)."""
    if len(data) > CSV_BYTES_MAX:
        raise Unreadable(
            f"the file has more than {CSV_BYTES_MAX} bytes",
            field="file",
            remedy="split it",
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(
            "the file is not text in UTF-8", field="file", remedy="save it as UTF-8"
        ) from error
    if "\0" in text:
        raise Unreadable("the file is binary", field="file", remedy="give a CSV file")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = [column.strip().casefold() for column in next(reader, [])]
        _check_columns(columns)
        number = 0
        for values in reader:
            if not values:
                continue
            number += 1
            if number > CSV_ROWS_MAX:
                raise Unreadable(
                    f"the file has more than {CSV_ROWS_MAX} rows", field="file", remedy="split it"
                )
            if len(values) != len(columns):
                raise InvalidInput(
                    f"row {number} has {len(values)} values, the first line {len(columns)}",
                    field=f"row {number}",
                    remedy="give every row as many values as there are columns",
                )
            yield number, dict(zip(columns, (value.strip() for value in values), strict=True))
    except csv.Error as error:
        raise Unreadable(
            f"line {reader.line_num}: {error}", field="file", remedy="check its quotes"
        ) from error


async def _import_of(
    work: AdminWork, rows: Mapping[int, Mapping[str, str]]
) -> dict[int, NewIdToken]:
    """Check every row, and return the identifiers by row number."""
    login_ids: dict[str | None, str | None] = {}
    wanted: dict[int, NewIdToken] = {}
    seen: dict[tuple[str, str | None], int] = {}
    for number, row in rows.items():
        try:
            request = _request_of(row)
            if request.login not in login_ids:
                login_ids[request.login] = await _login_id(work, request.login)
            id_token = _checked(request, login_ids[request.login])
        except InvalidInput as error:
            raise InvalidInput(
                f"row {number}: {error.message}",
                field=f"row {number}, {error.field}",
                remedy=error.remedy,
            ) from error
        earlier = seen.setdefault((id_token.ref.key, id_token.ref.kind), number)
        if earlier != number:
            raise InvalidInput(
                f"row {number}: the identifier of row {earlier} again (case makes no difference)",
                field=f"row {number}, id_token",
                remedy="remove one of the two rows",
            )
        wanted[number] = id_token
    return wanted


def _before(
    known: Sequence[NewIdToken], wanted: NewIdToken, row: Mapping[str, str], number: int
) -> NewIdToken | None:
    """Return the registered identifier that a row is about; a row may leave out a single type."""
    if "type" in row or not known:
        return _of_type(known, wanted.ref.kind)
    if len(known) > 1:
        raise InvalidInput(
            f"row {number}: the identifier is registered under several types",
            field=f"row {number}, type",
            remedy="give the file a column type",
        )
    return known[0]


def _with_what_is_kept(wanted: NewIdToken, known: NewIdToken, row: Mapping[str, str]) -> NewIdToken:
    """Return what a row makes of a known identifier."""
    return NewIdToken(
        IdTokenRef(wanted.ref.value, known.ref.kind),
        wanted.blocked if "blocked" in row else known.blocked,
        wanted.expires_at if "expires_at" in row else known.expires_at,
        wanted.login_id if "login" in row else known.login_id,
    )


def _check_columns(columns: list[str]) -> None:
    unknown = [column for column in columns if column not in CSV_COLUMNS]
    if unknown or "id_token" not in columns or len(set(columns)) != len(columns):
        raise Unreadable(
            f"the first line has a column '{unknown[0][:32]}'"
            if unknown
            else "the first line must name the columns once each, id_token among them",
            field="file",
            remedy=f"name columns of {', '.join(CSV_COLUMNS)}",
        )


def _request_of(row: Mapping[str, str]) -> IdTokenRequest:
    blocked = _BOOLEANS.get(row.get("blocked", "").casefold())
    if blocked is None:
        raise InvalidInput(
            f"'{row['blocked'][:20]}' is not true or false",
            field="blocked",
            remedy="write true or false",
        )
    return IdTokenRequest(
        id_token=row["id_token"],
        id_token_type=row.get("type") or DEFAULT_TYPE,
        blocked=blocked,
        expires_at=check_time(row.get("expires_at") or None, field="expires_at"),
        login=row.get("login") or None,
    )


def check_time(text: str | None, *, field: str) -> datetime | None:
    """Return an RFC 3339 time as aware UTC; without a zone it is UTC; InvalidInput otherwise."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(
            f"'{text[:32]}' is not a time",
            field=field,
            remedy="write for example 2027-01-31T00:00:00Z",
        ) from error
    return at.replace(microsecond=at.microsecond // 1000 * 1000)

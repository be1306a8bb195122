"""Routes of identifiers, logins and API keys."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from chargera.app import id_tokens, logins
from chargera.app.admin_ports import NewIdToken
from chargera.app.views import ApiKeyView, IdTokenView, LoginView
from chargera.web.api.context import ApiCall, Call, page, shown
from chargera.web.api.shapes import PAGE_MAX, Limit, Shape, answers, pages

router = APIRouter()


class IdTokenBody(Shape):
    """An identifier to register."""

    id_token: str
    type: str = id_tokens.DEFAULT_TYPE
    blocked: bool = False
    expires_at: str | None = Field(default=None, description="RFC 3339")
    login: str | None = Field(default=None, description="name of the login that it belongs to")


class BlockBody(Shape):
    """An identifier to block or to let charge again."""

    id_token: str
    blocked: bool
    type: str | None = Field(default=None, description="needed where there are several")


class EraseBody(Shape):
    """An identifier to forget for good."""

    id_token: str
    reason: str = Field(default="asked for by the person", min_length=1, max_length=200)


class IdTokenShape(BaseModel):
    """An identifier as it is registered now."""

    id_token: str
    type: str
    blocked: bool
    expires_at: str | None


class LoginBody(Shape):
    """A login to make; without a password one is generated."""

    name: str
    role: str
    password: str | None = None


class LoginPasswordBody(Shape):
    """A login's new password; without one it is generated."""

    password: str | None = None


class LoginPasswordShape(BaseModel):
    """A login's new password, shown once."""

    name: str
    password: str | None


class ApiKeyBody(Shape):
    """An API key to make, for the caller's own login or another."""

    name: str
    scopes: list[str] = Field(max_length=32)
    login: str | None = None


# Identifiers -----------------------------------------------------------------------------------


@router.get("/id-tokens", tags=["identifiers"], responses=pages(IdTokenView))
async def list_id_tokens(
    call: ApiCall,
    after: Annotated[str | None, Query(max_length=64)] = None,
    limit: Limit = PAGE_MAX,
) -> Response:
    """List identifiers; a driver sees its own."""
    rows = await id_tokens.list_id_tokens(
        call.work, call.caller, now=call.now, after=after, limit=limit
    )
    return page(rows, limit, id_tokens.cursor_of)


@router.post("/id-tokens", tags=["identifiers"], status_code=201, responses=answers(IdTokenShape))
async def add_id_token(call: ApiCall, body: IdTokenBody) -> Response:
    """Register an identifier."""
    wanted = id_tokens.IdTokenRequest(
        body.id_token,
        body.type,
        body.blocked,
        id_tokens.check_time(body.expires_at, field="expires_at"),
        body.login,
    )
    return await call.created(
        lambda: _added(call, wanted),
    )


async def _added(call: Call, wanted: id_tokens.IdTokenRequest) -> dict[str, object]:
    return _shape(await id_tokens.add_id_token(call.work, call.caller, wanted, now=call.now))


@router.post("/id-tokens/block", tags=["identifiers"], responses=answers(IdTokenShape))
async def set_blocked(call: ApiCall, body: BlockBody) -> Response:
    """Block an identifier, or let it charge again."""
    changed = await id_tokens.set_blocked(
        call.work, call.caller, body.id_token, body.type, blocked=body.blocked, now=call.now
    )
    return await call.changed(_shape(changed))


@router.post(
    "/id-tokens/import",
    tags=["identifiers"],
    responses=answers(id_tokens.Imported),
    openapi_extra={"requestBody": {"required": True, "content": {"text/csv": {}}}},
)
async def import_id_tokens(call: ApiCall) -> Response:
    """Add or change all identifiers of a CSV file, or none of them."""
    return await call.created(
        lambda: id_tokens.import_csv(call.work, call.caller, call.body, now=call.now), status=200
    )


@router.post("/id-tokens/erase", tags=["identifiers"], responses=answers(id_tokens.Erased))
async def erase_id_token(call: ApiCall, body: EraseBody) -> Response:
    """Forget a person's identifier everywhere; the log goes on verifying."""
    return await call.created(
        lambda: id_tokens.erase_id_token(
            call.work, call.caller, body.id_token, reason=body.reason, now=call.now
        ),
        forget=lambda made: made.stations,
        status=200,
    )


def _shape(id_token: NewIdToken) -> dict[str, object]:
    return {
        "id_token": id_token.ref.value,
        "type": id_token.ref.kind,
        "blocked": id_token.blocked,
        "expires_at": id_token.expires_at,
    }


# Logins and keys -------------------------------------------------------------------------------


@router.get("/logins", tags=["access"], responses=answers(list[LoginView]))
async def list_logins(call: ApiCall) -> Response:
    """List all logins."""
    return shown(await logins.list_logins(call.work, call.caller))


@router.post("/logins", tags=["access"], status_code=201, responses=answers(logins.NewLogin, 201))
async def add_login(call: ApiCall, body: LoginBody) -> Response:
    """Make a login; its password is shown once."""
    return await call.created(
        lambda: logins.add_login(
            call.work,
            call.caller,
            body.name,
            body.role,
            body.password,
            passwords=call.services.passwords,
            entropy=call.services.entropy,
            now=call.now,
        ),
        secret="password",  # noqa: S106 - the name of a member
    )


@router.post("/logins/{name}/password", tags=["access"], responses=answers(LoginPasswordShape))
async def set_login_password(call: ApiCall, name: str, body: LoginPasswordBody) -> Response:
    """Replace a login's password; its visits end."""
    return await call.created(
        lambda: _new_password(call, name, body.password),
        secret="password",  # noqa: S106 - the name of a member
        status=200,
    )


async def _new_password(call: Call, name: str, password: str | None) -> dict[str, str]:
    chosen = await logins.set_login_password(
        call.work,
        call.caller,
        name,
        password,
        passwords=call.services.passwords,
        entropy=call.services.entropy,
        now=call.now,
    )
    return {"name": name, "password": chosen}


@router.post("/logins/{name}/disable", tags=["access"], responses=answers(None))
async def disable_login(call: ApiCall, name: str) -> Response:
    """Close a login with its visits and keys."""
    await logins.disable_login(call.work, call.caller, name, now=call.now)
    return await call.changed({})


@router.get("/api-keys", tags=["access"], responses=answers(list[ApiKeyView]))
async def list_api_keys(call: ApiCall) -> Response:
    """List API keys, without the keys themselves."""
    return shown(await logins.list_api_keys(call.work, call.caller))


@router.post(
    "/api-keys", tags=["access"], status_code=201, responses=answers(logins.NewApiKey, 201)
)
async def add_api_key(call: ApiCall, body: ApiKeyBody) -> Response:
    """Make an API key; it is shown once."""
    return await call.created(
        lambda: logins.add_api_key(
            call.work,
            call.caller,
            body.name,
            body.scopes,
            body.login,
            entropy=call.services.entropy,
            now=call.now,
        ),
        secret="api_key",  # noqa: S106 - the name of a member
    )


@router.delete("/api-keys/{name}", tags=["access"], responses=answers(None))
async def revoke_api_key(call: ApiCall, name: str) -> Response:
    """Revoke all API keys of a name."""
    await logins.revoke_api_key(call.work, call.caller, name, now=call.now)
    return await call.changed({})

"""Logins, keys, visits: who is let in, by what, and who is not any more."""

import pytest

from chargera.app.access import GuessLimiter, GuessLimits
from chargera.app.logins import OPERATOR_NAME, SignIn, ensure_operator, renew_local_key, sign_out
from chargera.domain.errors import NotPermitted
from chargera.web.auth import COOKIE

from .conftest import Api


def sign_in_of(api: Api) -> SignIn:
    limiter = GuessLimiter(GuessLimits(answered=5, hashed=10), lambda: 0.0)
    return SignIn(api.passwords, api.entropy, limiter)


async def visit_of(api: Api, name: str, password: str) -> tuple[str, str]:
    """Sign in; return the cookie and what forms carry."""
    from chargera.app.logins import csrf_value

    async with api.work() as work:
        visit = await sign_in_of(api).sign_in(work, name, password, "192.0.2.1")
        await work.commit()
    return visit.cookie, csrf_value(visit.csrf_secret)


async def test_the_operator_is_made_once_and_its_key_renewed_at_each_start(api: Api) -> None:
    old = api.keys["operator"]
    async with api.work() as work:
        now = api.clock.now()
        again = await ensure_operator(work, passwords=api.passwords, entropy=api.entropy, now=now)
        api.keys["operator"] = await renew_local_key(work, entropy=api.entropy, now=now)
        await work.commit()
    assert again is None
    me = await api.ok("operator", "GET", "/whoami")
    assert (me["name"], me["role"], me["scopes"]) == (OPERATOR_NAME, "operator", ["all"])
    api.keys["old"] = old
    assert (await api.call("old", "GET", "/whoami")).status_code == 401


async def test_add_login__a_password_is_made_or_taken(api: Api) -> None:
    made = await api.ok("operator", "POST", "/logins", {"name": "dana", "role": "driver"})
    assert len(made["password"]) >= 20
    given = {"name": "hal", "role": "host", "password": "ten letters"}
    assert (await api.ok("operator", "POST", "/logins", given))["password"] == "ten letters"
    await visit_of(api, "dana", made["password"])
    await visit_of(api, "hal", "ten letters")
    rows = await api.ok("operator", "GET", "/logins")
    assert [(row["name"], row["role"]) for row in rows] == [
        ("dana", "driver"),
        ("hal", "host"),
        ("operator", "operator"),
    ]
    assert "password_hash" not in rows[0]
    changes = [(r["change"], r["login"]) for r in await api.entries("access_changed")]
    assert changes[-2:] == [("login_added", "dana"), ("login_added", "hal")]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"name": "", "role": "host"}, 422, "name"),
        ({"name": "a b", "role": "host"}, 422, "name"),
        ({"name": "a", "role": "king"}, 422, "role"),
        ({"name": "a", "role": "anonymous"}, 422, "role"),
        ({"name": "a", "role": "host", "password": "short"}, 422, "password"),
        ({"name": "operator", "role": "host"}, 409, "name"),
    ],
)
async def test_add_login__a_wrong_value_is_refused_by_name(
    api: Api, body: dict[str, str], status: int, field: str
) -> None:
    answer = await api.call("operator", "POST", "/logins", body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (status, field)


async def test_sign_in__every_refusal_is_the_same(api: Api) -> None:
    body = {"name": "dana", "role": "driver", "password": "the right one"}
    await api.ok("operator", "POST", "/logins", body)
    leaver = {"name": "leaver", "role": "driver", "password": "the right one"}
    await api.ok("operator", "POST", "/logins", leaver)
    await api.ok("operator", "POST", "/logins/leaver/disable")
    refusals = set()
    for name, password in (
        ("dana", "the wrong one"),
        ("nobody", "another"),
        ("nobody", "the right one"),
        ("leaver", "the right one"),
        ("d" * 65, "the right one"),
        ("dana", "x" * 201),
    ):
        with pytest.raises(NotPermitted) as refused:
            await visit_of(api, name, password)
        refusals.add((refused.value.code, refused.value.message, refused.value.field))
    assert len(refusals) == 1


async def test_sign_in__beyond_ten_guesses_no_hash_is_computed(api: Api) -> None:
    body = {"name": "dana", "role": "driver", "password": "the right one"}
    await api.ok("operator", "POST", "/logins", body)
    sign_in = sign_in_of(api)
    before = api.passwords.computed
    for _ in range(30):
        async with api.work() as work:
            with pytest.raises(NotPermitted):
                await sign_in.sign_in(work, "dana", "wrong password", "192.0.2.1")
    assert api.passwords.computed - before == 10


async def test_a_cookie_reads_and_changes_only_with_the_value_of_its_forms(api: Api) -> None:
    body = {"name": "second", "role": "operator", "password": "the right one"}
    await api.ok("operator", "POST", "/logins", body)
    cookie, form_value = await visit_of(api, "second", "the right one")
    headers = {"Cookie": f"{COOKIE}={cookie}"}
    wanted = {"id_token": "CARD"}

    assert (await api.ok(None, "GET", "/whoami", headers=headers))["name"] == "second"
    for value in ({}, {"X-CSRF": "guessed"}, {"X-CSRF": cookie}):
        forged = await api.call(None, "POST", "/id-tokens", wanted, headers=headers | value)
        assert forged.status_code == 403
        assert forged.json()["error"]["field"] == "X-CSRF"
    await api.ok(None, "POST", "/id-tokens", wanted, headers=headers | {"X-CSRF": form_value})


async def test_a_visit_ends_with_its_time_its_password_and_its_login(api: Api) -> None:
    body = {"name": "second", "role": "operator", "password": "the right one"}
    await api.ok("operator", "POST", "/logins", body)

    async def name_of(cookie: str) -> str:
        headers = {"Cookie": f"{COOKIE}={cookie}"}
        return str((await api.ok(None, "GET", "/whoami", headers=headers))["name"])

    cookie, _ = await visit_of(api, "second", "the right one")
    api.clock.advance(10 * 86_400)  # the network's time does not sign people out
    assert await name_of(cookie) == "second"
    async with api.work() as work:
        await work.connection.execute("update login_visit set expires_at = now()")
        await work.commit()
    assert await name_of(cookie) == "a visitor"

    cookie, _ = await visit_of(api, "second", "the right one")
    async with api.work() as work:
        await sign_out(work, cookie)
        await work.commit()
    assert await name_of(cookie) == "a visitor"

    cookie, _ = await visit_of(api, "second", "the right one")
    changed = await api.ok("operator", "POST", "/logins/second/password", {})
    assert await name_of(cookie) == "a visitor"

    cookie, _ = await visit_of(api, "second", changed["password"])
    await api.ok("operator", "POST", "/logins/second/disable")
    assert await name_of(cookie) == "a visitor"


async def test_password__ones_own_may_be_changed_in_a_visit(api: Api) -> None:
    body = {"name": "dana", "role": "driver", "password": "the right one"}
    await api.ok("operator", "POST", "/logins", body)
    cookie, form_value = await visit_of(api, "dana", "the right one")
    headers = {"Cookie": f"{COOKIE}={cookie}", "X-CSRF": form_value}
    new = {"password": "another one"}
    other = await api.call(None, "POST", "/logins/operator/password", new, headers=headers)
    assert other.status_code == 403
    await api.ok(None, "POST", "/logins/dana/password", new, headers=headers)
    await visit_of(api, "dana", "another one")
    missing = await api.call("operator", "POST", "/logins/nobody/password", new)
    assert missing.status_code == 404


async def test_disable__closes_keys_too_and_never_ones_own(api: Api) -> None:
    await api.add_login("second", "operator")
    assert (await api.call("second", "GET", "/whoami")).status_code == 200
    own = await api.call("operator", "POST", "/logins/operator/disable")
    assert own.status_code == 409
    for _ in range(2):
        await api.ok("operator", "POST", "/logins/second/disable")
    assert (await api.call("second", "GET", "/whoami")).status_code == 401
    disabled = [r for r in await api.entries("access_changed") if r["change"] == "login_disabled"]
    assert [record["login"] for record in disabled] == ["second"]


async def test_api_key__is_for_the_login_of_its_name_else_for_the_callers_own(api: Api) -> None:
    await api.ok("operator", "POST", "/logins", {"name": "hal", "role": "host"})
    body = {"name": "hal", "scopes": ["read"]}
    assert (await api.ok("operator", "POST", "/api-keys", body))["login"] == "hal"
    body = {"name": "billing export", "scopes": ["sessions:read"]}
    made = await api.ok("operator", "POST", "/api-keys", body)
    assert made["login"] == "operator"
    rows = await api.ok("operator", "GET", "/api-keys")
    assert [row["name"] for row in rows] == ["billing export", "hal", "local command line"]
    assert made["api_key"] not in str(rows)
    stored = await api.rows("select name from api_key where key_hash = %s", b"x")
    assert stored == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "", "scopes": ["read"]}, "name"),
        ({"name": "k", "scopes": []}, "scopes"),
        ({"name": "k", "scopes": ["fly"]}, "scopes"),
        ({"name": "k", "scopes": ["read"], "login": "nobody"}, "name"),
    ],
)
async def test_api_key__a_wrong_value_is_refused_by_name(
    api: Api, body: dict[str, object], field: str
) -> None:
    answer = await api.call("operator", "POST", "/api-keys", body)
    assert answer.status_code in (404, 422)
    assert answer.json()["error"]["field"] == field


async def test_api_key__a_limited_caller_passes_on_only_what_it_has(api: Api) -> None:
    await api.add_key("limited", "operator", "logins:write", "sessions:read")
    more = {"name": "k", "scopes": ["all"], "login": "operator"}
    refused = await api.call("limited", "POST", "/api-keys", more)
    assert refused.status_code == 403
    assert refused.json()["error"]["field"] == "scopes"
    await api.ok("limited", "POST", "/api-keys", more | {"scopes": ["sessions:read"]})


async def test_api_key__revoked_it_opens_nothing(api: Api) -> None:
    await api.add_key("k", "operator", "all")
    await api.ok("operator", "DELETE", "/api-keys/key of k")
    assert (await api.call("k", "GET", "/whoami")).status_code == 401
    assert (await api.call("operator", "DELETE", "/api-keys/key of k")).status_code == 404


@pytest.mark.parametrize("header", ["Bearer nonsense", "Bearer c4e_none", "Basic abc", "Bearer"])
async def test_a_wrong_authorization_header_is_401_even_where_visitors_may_look(
    api: Api, header: str
) -> None:
    answer = await api.call(None, "GET", "/stations", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["error"]["code"] == "not_signed_in"

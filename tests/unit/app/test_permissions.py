"""Roles, scopes and reach: what the tables say, and that they leave no case out."""

from dataclasses import replace

import pytest

from chargera.app.permissions import (
    ALLOWED,
    ANONYMOUS,
    REACH,
    SCOPES,
    Action,
    Caller,
    Reach,
    Role,
    check_role,
    check_scopes,
)
from chargera.domain.errors import InvalidInput, NotPermitted
from chargera.store import reach

READS = {action for action in Action if action.endswith(":read")}


def caller(role: Role, *scopes: str) -> Caller:
    return Caller("login", "name", role, frozenset(scopes) if scopes else None)


def test_every_role_has_its_actions_and_its_reach() -> None:
    assert ALLOWED.keys() == REACH.keys() == set(Role)


@pytest.mark.parametrize(
    "table", [reach.STATIONS, reach.SHOWN_STATIONS, reach.SESSIONS, reach.ID_TOKENS, reach.RECORDS]
)
def test_every_query_knows_every_reach(table: dict[Reach, str]) -> None:
    assert table.keys() == set(Reach)


def test_an_operator_may_do_everything_and_an_auditor_reads_and_changes_nothing() -> None:
    assert all(caller(Role.OPERATOR).may(action) for action in Action)
    allowed = {action for action in Action if caller(Role.AUDITOR).may(action)}
    assert allowed <= READS
    assert READS - allowed == {Action.BACKUP_READ}  # it holds private keys


@pytest.mark.parametrize("role", [Role.TECHNICIAN, Role.ANONYMOUS])
def test_who_owns_nothing_sees_what_is_public(role: Role) -> None:
    allowed = {action for action in Action if caller(role).may(action)}
    assert allowed == {Action.STATIONS_READ, Action.TARIFFS_READ, Action.LOG_READ}
    assert caller(role).reach is Reach.PUBLIC


def test_a_scope_takes_away_and_never_adds() -> None:
    for role in Role:
        for scope in SCOPES:
            for action in Action:
                limited = caller(role, scope).may(action)
                assert not limited or caller(role).may(action)
                if ANONYMOUS.may(action):
                    assert limited


def test_read_reads_everything_but_the_backup() -> None:
    assert SCOPES["read"] == READS - {Action.BACKUP_READ}


def test_require__tells_a_visitor_to_sign_in_and_a_login_what_it_lacks() -> None:
    with pytest.raises(NotPermitted) as refused:
        ANONYMOUS.require(Action.SESSIONS_READ)
    assert "sign in" in refused.value.remedy
    with pytest.raises(NotPermitted) as refused:
        caller(Role.DRIVER).require(Action.TARIFFS_WRITE)
    assert "tariffs:write" in refused.value.remedy
    caller(Role.OPERATOR).require(Action.TARIFFS_WRITE)
    assert not ANONYMOUS.is_signed_in
    assert replace(ANONYMOUS, login_id="x").is_signed_in


def test_check_role_and_scopes__refuse_what_is_none() -> None:
    assert check_role("host") is Role.HOST
    assert check_scopes(["read", "all"]) == {"read", "all"}
    for value in ("anonymous", "", "root"):
        with pytest.raises(InvalidInput, match="is not a role"):
            check_role(value)
    with pytest.raises(InvalidInput, match="needs a scope"):
        check_scopes([])
    with pytest.raises(InvalidInput, match="'fly' is not a scope"):
        check_scopes(["read", "fly"])

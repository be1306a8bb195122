"""Which databases are refused, by the facts alone."""

from dataclasses import replace

import pytest

from chargera.store.durability import Facts, faults

GOOD = Facts(
    settings={
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "synchronous_standby_names": "",
        "server_version_num": "180004",
        "server_encoding": "UTF8",
    },
    sources={"synchronous_commit": "default"},
    overrides=(),
    is_standby=False,
)


def changed(**settings: str) -> Facts:
    return replace(GOOD, settings={**GOOD.settings, **settings})


def test_good_database__no_faults() -> None:
    assert faults(GOOD) == []


@pytest.mark.parametrize("name", ["fsync", "full_page_writes", "synchronous_commit"])
def test_setting_off__is_named_with_value_and_remedy(name: str) -> None:
    (fault,) = faults(changed(**{name: "off"}))
    assert (fault.setting, fault.value) == (name, "off")
    assert f"{name} = on" in fault.remedy


@pytest.mark.parametrize(
    ("value", "standbys", "is_durable"),
    [
        ("on", "", True),
        ("on", "s1", True),
        ("remote_apply", "s1", True),
        ("remote_write", "s1", True),
        ("local", "", True),
        ("local", "  ", True),
        ("local", "FIRST 1 (s1)", False),
        ("off", "", False),
        ("off", "s1", False),
    ],
)
def test_synchronous_commit__is_durable(value: str, standbys: str, is_durable: bool) -> None:
    facts = changed(synchronous_commit=value, synchronous_standby_names=standbys)
    assert (faults(facts) == []) is is_durable


@pytest.mark.parametrize("value", ["off", "OFF", "false", "no", "0"])
@pytest.mark.parametrize(
    ("role", "database", "target"),
    [
        (None, None, "ROLE ALL"),
        ("c", None, "ROLE c"),
        (None, "d", "DATABASE d"),
        ("c", "d", "ROLE c IN DATABASE d"),
    ],
)
def test_weaker_override__is_named_by_its_place_even_if_this_session_is_safe(
    value: str, role: str | None, database: str | None, target: str
) -> None:
    for facts in (GOOD, changed(synchronous_commit="off")):
        (fault,) = faults(replace(facts, overrides=((role, database, value),)))
        assert fault.setting == "synchronous_commit"
        assert fault.value == value
        assert fault.remedy == f"ALTER {target} RESET synchronous_commit"


@pytest.mark.parametrize("value", ["on", "True", "yes", "1", "remote_write", "local"])
def test_override_that_is_as_good__is_no_fault(value: str) -> None:
    assert faults(replace(GOOD, overrides=(("c", None, value),))) == []


@pytest.mark.parametrize(
    ("source", "remedy"),
    [
        ("client", "out of the database's address"),
        ("environment variable", "out of the server's environment"),
        ("configuration file", "postgresql.conf or ALTER SYSTEM"),
    ],
)
def test_weak_synchronous_commit__remedy_fits_where_it_comes_from(source: str, remedy: str) -> None:
    facts = replace(changed(synchronous_commit="off"), sources={"synchronous_commit": source})
    (fault,) = faults(facts)
    assert remedy in fault.remedy


@pytest.mark.parametrize(("number", "is_new_enough"), [("130020", False), ("140000", True)])
def test_server_version__from_14(number: str, is_new_enough: bool) -> None:
    found = faults(changed(server_version_num=number))
    assert (found == []) is is_new_enough
    assert [(fault.setting, fault.value) for fault in found] == (
        [] if is_new_enough else [("server_version", "13.20")]
    )


def test_encoding_and_standby__are_refused() -> None:
    (fault,) = faults(changed(server_encoding="SQL_ASCII"))
    assert (fault.setting, fault.value) == ("server_encoding", "SQL_ASCII")
    (fault,) = faults(replace(GOOD, is_standby=True))
    assert fault.setting == "pg_is_in_recovery"


def test_many_faults__all_are_named_worst_first() -> None:
    found = faults(changed(synchronous_commit="off", fsync="off", server_version_num="90600"))
    assert [fault.setting for fault in found] == ["fsync", "synchronous_commit", "server_version"]

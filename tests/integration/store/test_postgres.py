"""The embedded server lives exactly as long as its supervisor, as root and as anybody."""

import psycopg


def test_a_fresh_database__is_empty_utf8_and_in_utc(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "SELECT current_user, current_setting('server_encoding'),"
            " current_setting('TimeZone'), current_setting('data_checksums')"
        ).fetchone()
    assert row == ("chargera", "UTF8", "UTC", "on")

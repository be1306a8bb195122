"""`chargera login` and `chargera api-key`: who may do what."""

from typing import Annotated

import typer

from chargera.cli.client import Server, path_part
from chargera.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir, noun
from chargera.cli.output import show, table

app = noun("login", "People who sign in.")
keys = noun("api-key", "Keys for programs.")

Name = Annotated[str, typer.Argument(metavar="NAME")]


@app.command()
def add(
    name: Name,
    role: Annotated[
        str, typer.Option("--role", help="operator, auditor, host, driver, technician")
    ],
    password: Annotated[
        str | None, typer.Option("--password", help="Else one is generated and shown once.")
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Make a login; its password is shown once."""
    body = {"name": name, "role": role, "password": password}
    show(Server(data_dir).post("/logins", body), as_json)


@app.command("list")
def list_(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """List all logins."""
    rows = Server(data_dir).get("/logins")
    show(rows, as_json, table(rows, ["name", "role", "created_at", "disabled_at"]))


@app.command("password")
def password_(
    name: Name,
    set_: Annotated[str | None, typer.Option("--set", help="Else one is generated.")] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Replace a login's password; its visits end."""
    path = f"/logins/{path_part(name, 'name')}/password"
    show(Server(data_dir).post(path, {"password": set_}), as_json)


@app.command()
def disable(name: Name, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """Close a login with its visits and keys."""
    show(Server(data_dir).post(f"/logins/{path_part(name, 'name')}/disable"), as_json, "done")


@keys.command("add")
def add_key(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="What will use it, or the login that it is for."),
    ],
    scope: Annotated[
        list[str], typer.Option("--scope", help="all, read, or an action such as sessions:read.")
    ],
    login: Annotated[
        str | None, typer.Option("--login", help="Whose permissions it has; default see NAME.")
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Make an API key; it is shown once.

    It is for the login called NAME if there is one, else for the caller's own.
    """
    scopes = [part.strip() for value in scope for part in value.split(",")]
    body = {"name": name, "scopes": scopes, "login": login}
    show(Server(data_dir).post("/api-keys", body), as_json)


@keys.command("list")
def list_keys(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """List all API keys, without the keys themselves."""
    rows = Server(data_dir).get("/api-keys")
    show(
        rows, as_json, table(rows, ["name", "login", "role", "scopes", "created_at", "revoked_at"])
    )


@keys.command()
def revoke(name: Name, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """Revoke all API keys of a name."""
    show(Server(data_dir).delete(f"/api-keys/{path_part(name, 'name')}"), as_json, "done")

"""The command line as a client of the REST API: where the server is, one call, whole lists."""

import json
import os
import uuid
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from chargera.domain import errors
from chargera.domain.errors import ChargEraError, Unavailable, Unreadable

if TYPE_CHECKING:
    import httpx2

SERVE_FILE = "serve.json"
PAGE_ROWS = 1_000
ATTEMPTS = 3
TIMEOUT_S = 60.0

_ERRORS: Mapping[str, type[ChargEraError]] = {
    cls.code: cls
    for cls in vars(errors).values()
    if isinstance(cls, type) and issubclass(cls, ChargEraError)
}


class Server:
    """The running server of a data folder.

    `CHARGERA_URL` and `CHARGERA_API_KEY` in the environment go before the folder's own.
    """

    def __init__(self, data_dir: Path) -> None:
        """Find the server.

        Raises Unavailable if none runs, Unreadable if serve.json is damaged.
        """
        self.url, self._api_key = _address(data_dir)
        self._data_dir = data_dir
        self._kept: httpx2.Client | None = None

    def get(self, path: str, **parameters: Any) -> Any:
        """Return what the API answers to a GET."""
        return self._json("GET", path, parameters=parameters)

    def post(
        self, path: str, body: Any = None, *, timeout_s: float = TIMEOUT_S, repeat: bool = True
    ) -> Any:
        """Return what the API answers to a POST.

        Without an answer it is sent again, under the same Idempotency-Key; not where a `repeat`
        would have a second effect.
        """
        return self._json("POST", path, body=body, timeout_s=timeout_s, repeat=repeat)

    def put(self, path: str, body: Any) -> Any:
        """Return what the API answers to a PUT."""
        return self._json("PUT", path, body=body)

    def delete(self, path: str) -> Any:
        """Return what the API answers to a DELETE."""
        return self._json("DELETE", path)

    def send(self, path: str, content: bytes, media_type: str) -> Any:
        """Return what the API answers to a POST of bytes."""
        return self._json("POST", path, content=content, media_type=media_type)

    def rows(self, path: str, limit: int | None, cursor: str, **parameters: Any) -> list[Any]:
        """Return a list: complete, or at most `limit` rows; `cursor` names the parameter."""
        rows: list[Any] = []
        while True:
            wanted = PAGE_ROWS if limit is None else min(PAGE_ROWS, limit - len(rows))
            page = self.get(path, limit=wanted, **parameters)
            rows += page["items"]
            if page["next"] is None or (limit is not None and len(rows) >= limit):
                return rows
            parameters[cursor] = page["next"]

    def download(self, path: str, **parameters: Any) -> bytes:
        """Return the bytes at a path of the API."""
        with self._request("GET", f"/api/v1{path}", parameters) as response:
            return _whole(response)

    def file(self, path: str) -> bytes:
        """Return the bytes at a path of the server, such as `/log/checkpoint`."""
        with self._request("GET", path, {}) as response:
            return _whole(response)

    @contextmanager
    def stream(self, path: str, **parameters: Any) -> Iterator[Iterator[bytes]]:
        """Give the bytes at a path of the API in pieces. Raises Unavailable if they break off."""
        with self._request("GET", f"/api/v1{path}", parameters) as response:
            yield self._pieces(response)

    def _pieces(self, response: "httpx2.Response") -> Iterator[bytes]:
        import httpx2

        try:
            yield from response.iter_bytes()
        except httpx2.HTTPError as error:
            raise self._lost(error) from error

    def _json(
        self,
        method: str,
        path: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        body: Any = None,
        content: bytes | None = None,
        media_type: str = "application/json",
        timeout_s: float = TIMEOUT_S,
        repeat: bool = True,
    ) -> Any:
        """Call the API; a POST is sent again, under one Idempotency-Key, when it got no answer."""
        headers = {"Content-Type": media_type}
        if method == "POST":
            headers["Idempotency-Key"] = str(uuid.uuid4())
        if content is None and method in ("POST", "PUT"):
            content = json.dumps({} if body is None else body).encode()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._request(
                    method, f"/api/v1{path}", parameters or {}, content, headers, timeout_s
                ) as response:
                    return json.loads(_whole(response))
            except _NoAnswerError as error:
                if method != "POST" or not repeat or attempt == ATTEMPTS:
                    raise self._lost(error) from error
        raise AssertionError("the last attempt returns or raises")

    @contextmanager
    def _request(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, Any],
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Iterator["httpx2.Response"]:
        import httpx2

        given = {name: value for name, value in parameters.items() if value is not None}
        try:
            with self._client().stream(
                method,
                self.url + path,
                params=given,
                content=content,
                headers=headers,
                timeout=timeout_s,
            ) as response:
                if response.status_code >= 400:
                    raise _error_of(response)
                yield response
        except httpx2.ConnectError as error:
            raise no_server(self._data_dir, str(error)) from error
        except httpx2.TransportError as error:
            raise _NoAnswerError(str(error) or type(error).__name__) from error

    def _client(self) -> "httpx2.Client":
        """Return the one client of this server; its connection closes when we are forgotten."""
        import httpx2

        if self._kept is None:
            bearer = {"Authorization": f"Bearer {self._api_key}"} if self._api_key else {}
            # Certificates are loaded, which takes a while, only where there are any.
            is_tls = self.url.startswith("https:")
            self._kept = httpx2.Client(verify=is_tls, trust_env=False, headers=bearer)
            weakref.finalize(self, self._kept.close)
        return self._kept

    def _lost(self, error: Exception) -> Unavailable:
        return Unavailable(
            f"the server at {self.url} did not answer: {error}",
            remedy="look at its output, then try again",
        )


class _NoAnswerError(Unavailable):
    """The connection broke before there was an answer: the effect may have happened."""

    def __init__(self, fault: str) -> None:
        super().__init__(
            f"the server did not answer: {fault}", remedy="look at its output, then try again"
        )


def path_part(value: str, field: str) -> str:
    """Return `value` as one part of a path of the API. Raises Unreadable for one that is none."""
    if value in ("", ".", ".."):
        raise Unreadable(
            f"'{value}' names nothing", field=field, remedy="give the name or id that is meant"
        )
    return quote(value, safe="")


def no_server(data_dir: Path, fault: str) -> Unavailable:
    """Return the error for a data folder without a running server."""
    return Unavailable(
        f"no server runs for {data_dir}: {fault}",
        field="data_dir",
        remedy=f"start one: chargera serve --data-dir {data_dir}",
    )


def _address(data_dir: Path) -> tuple[str, str | None]:
    url, api_key = os.environ.get("CHARGERA_URL"), os.environ.get("CHARGERA_API_KEY")
    if url is not None:
        return url.rstrip("/"), api_key
    path = data_dir / SERVE_FILE
    try:
        members = json.loads(path.read_text(encoding="utf-8"))
        return members["http"].rstrip("/"), api_key or members["api_key"]
    except FileNotFoundError:
        raise no_server(data_dir, f"there is no {SERVE_FILE}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(
            f"{path} cannot be read: {error}",
            field="data_dir",
            remedy="use the account that runs the server, or start it again",
        ) from error


def _whole(response: "httpx2.Response") -> bytes:
    return b"".join(response.iter_bytes())


def _class_of(code: str) -> type[ChargEraError]:
    """Return the class of a code; one that only the server knows is a refusal of that code."""
    return _ERRORS.get(code) or type("ServerRefusal", (errors.Refused,), {"code": code})


def _error_of(response: "httpx2.Response") -> ChargEraError:
    """Return the error that the server answered with, as the class that it is here."""
    body = response.read()
    try:
        members = json.loads(body)["error"]
        cls = _class_of(members["code"])
        return cls(members["message"], field=members["field"], remedy=members["remedy"] or "")
    except (ValueError, KeyError, TypeError):
        return Unavailable(
            f"the server answered with status {response.status_code}",
            remedy="look at its output",
        )

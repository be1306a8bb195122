"""HTTP for a mirror and for the emulator's control address, in threads of its own."""

import json
import logging
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

Answer = Callable[[str, str, list[tuple[str, str]], Any], tuple[int, dict[str, Any]]]
"""Method, path, query, body (JSON or None) to status and document."""
POLL_S = 0.01
"""How long an end is waited for."""
BODY_BYTES_MAX = 4 * 1024 * 1024

_log = logging.getLogger(__name__)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class HttpServer:
    """Serves one `Answer` on loopback."""

    def __init__(self, answer: Answer, port: int = 0) -> None:
        """Listen; port 0 takes a free one."""
        self._server = _Server(("127.0.0.1", port), _handler(answer))
        self._thread = Thread(target=self._server.serve_forever, args=(POLL_S,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """`http://host:port`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        """Hear nobody any more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(answer: Answer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet an answer

        def _respond(self) -> None:
            split = urlsplit(self.path)
            size = int(self.headers.get("Content-Length") or 0)
            data = self.rfile.read(min(size, BODY_BYTES_MAX))
            try:
                body = json.loads(data) if data else None
            except ValueError:
                body = data  # a transaction of HAPI
            items = parse_qsl(split.query, keep_blank_values=True)
            try:
                status, document = answer(self.command, unquote(split.path), items, body)
            except Exception as error:
                _log.exception("the emulator failed")
                status, document = 500, {"_status": {"messages": [{"message": repr(error)}]}}
            said = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = do_DELETE = _respond  # noqa: N815  # the names that the library calls

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # as inherited
            """Say nothing."""

    return Handler

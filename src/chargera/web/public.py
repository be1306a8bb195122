"""What anybody may fetch without a login: the log's files, the topic, the trust file, health.

The log is served as static files in the layout of C2SP tlog-tiles: tiles and full bundles never
change, so clients may keep them for ever; the checkpoint may not be kept at all.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from chargera.domain.errors import InvalidInput, NotFound

Query = Sequence[tuple[str, str]]
Document = Mapping[str, Any]

FOR_EVER = "public, max-age=31536000, immutable"
NOT_KEPT = "no-store"


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicViews:
    """The mirror-compatible REST of the topic; errors as a mirror node words them."""

    topic: Callable[[str], Awaitable[Document]]
    messages: Callable[[str, Query], Awaitable[Document]]
    message: Callable[[str, str], Awaitable[Document]]
    message_at: Callable[[str], Awaitable[Document]]
    error: Callable[[InvalidInput | NotFound], tuple[int, Document]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicServices:
    """What the public addresses show."""

    log_file: Callable[[str], Awaitable[bytes]]
    """A file of the log by its path; NotFound for any other."""
    vkey: str
    trust: Callable[[], Awaitable[Document]]
    topic_views: TopicViews
    readiness: Callable[[], Awaitable[tuple[bool, Mapping[str, str]]]]
    metrics: Callable[[], bytes]
    batch_file: Callable[[str], Awaitable[bytes]] | None = None
    """Digest to its batch file; NotFound for any other. None: nothing is settled on chain."""


def public_routes(services: PublicServices) -> list[Route]:
    """Return the routes; they stand before the API and the pages."""
    public = _Public(services)
    topics = "/api/v1/topics"
    return [
        Route("/log/checkpoint", public.checkpoint),
        Route("/log/vkey", public.vkey),
        Route("/log/tile/{path:path}", public.tile),
        Route("/deployment.json", public.deployment),
        Route("/settlement/{digest}.json", public.batch_file),
        Route(f"{topics}/messages/{{timestamp}}", public.message_at),
        Route(f"{topics}/{{topic_id}}/messages", public.messages),
        Route(f"{topics}/{{topic_id}}/messages/{{sequence_number}}", public.message),
        Route(f"{topics}/{{topic_id}}", public.topic),
        Route("/livez", public.livez),
        Route("/readyz", public.readyz),
        Route("/metrics", public.metrics),
    ]


class _Public:
    def __init__(self, services: PublicServices) -> None:
        self._services = services

    async def checkpoint(self, request: Request) -> Response:
        """The newest signed head as a note."""
        return await self._file("checkpoint", NOT_KEPT, "text/plain; charset=utf-8")

    async def tile(self, request: Request) -> Response:
        """A tile of hashes or a bundle of entries."""
        path = f"tile/{request.path_params['path']}"
        return await self._file(path, FOR_EVER, "application/octet-stream")

    async def _file(self, path: str, keep: str, media_type: str) -> Response:
        try:
            content = await self._services.log_file(path)
        except NotFound as error:
            return _text(f"{error.message}\n", 404)
        headers = {"Cache-Control": keep, "Access-Control-Allow-Origin": "*"}
        return Response(content, media_type=media_type, headers=headers)

    async def vkey(self, request: Request) -> Response:
        """The log's verifier key."""
        return _text(f"{self._services.vkey}\n")

    async def deployment(self, request: Request) -> Response:
        """The trust file. Whoever verifies should have it from a place that he trusts."""
        return _json(await self._services.trust())

    async def batch_file(self, request: Request) -> Response:
        """A signed batch: whoever holds it can bring it to its end without the operator."""
        digest, read = request.path_params["digest"], self._services.batch_file
        try:
            if read is None:
                raise NotFound("this network settles nothing on chain")
            content = await read(digest)
        except NotFound as error:
            return _text(f"{error.message}\n", 404)
        headers = {"Cache-Control": NOT_KEPT, "Access-Control-Allow-Origin": "*"}
        return Response(content, media_type="application/json", headers=headers)

    async def topic(self, request: Request) -> Response:
        """The topic."""
        views = self._services.topic_views
        return await self._mirror(views.topic(request.path_params["topic_id"]))

    async def messages(self, request: Request) -> Response:
        """Messages of the topic."""
        views = self._services.topic_views
        query = request.query_params.multi_items()
        return await self._mirror(views.messages(request.path_params["topic_id"], query))

    async def message(self, request: Request) -> Response:
        """One message by its sequence number."""
        views, path = self._services.topic_views, request.path_params
        return await self._mirror(views.message(path["topic_id"], path["sequence_number"]))

    async def message_at(self, request: Request) -> Response:
        """One message by its consensus timestamp."""
        views = self._services.topic_views
        return await self._mirror(views.message_at(request.path_params["timestamp"]))

    async def _mirror(self, answer: Awaitable[Document]) -> Response:
        try:
            return _json(await answer)
        except (InvalidInput, NotFound) as error:
            status, document = self._services.topic_views.error(error)
            return _json(document, status)

    async def livez(self, request: Request) -> Response:
        """The process answers."""
        return _json({"live": True})

    async def readyz(self, request: Request) -> Response:
        """Every named check, and 503 if one of them fails."""
        ready, checks = await self._services.readiness()
        return _json({"checks": checks, "ready": ready}, 200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        """Prometheus metrics."""
        media_type = "text/plain; version=0.0.4; charset=utf-8"
        return Response(self._services.metrics(), media_type=media_type)


def _json(document: Document, status: int = 200) -> Response:
    headers = {"Cache-Control": NOT_KEPT, "Access-Control-Allow-Origin": "*"}
    return Response(orjson.dumps(document), status, headers=headers, media_type="application/json")


def _text(text: str, status: int = 200) -> Response:
    headers = {"Cache-Control": NOT_KEPT, "Access-Control-Allow-Origin": "*"}
    return Response(text, status, headers=headers, media_type="text/plain; charset=utf-8")

"""A browser without a network: requests go straight into an ASGI app."""

import httpx2
from starlette.types import ASGIApp

BASE = "http://chargera.example"


def client_of(app: ASGIApp, **options: object) -> httpx2.AsyncClient:
    """A client with a cookie jar; it follows no redirects."""
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url=BASE, **options)

"""Client of the HAL9 API. Operations are modules of `hal9_client.api`, bodies classes of `hal9_client.models`."""

import httpx

from .client import AuthenticatedClient, Client
from .failure import ApiError, expect
from .pages import items
from .runs import wait_for_result
from .signals import Upload, send_lines


def connect(url: str, credential: str, *, timeout_seconds: float = 90.0) -> AuthenticatedClient:
    """A client of the HAL9 at `url`, with an API key or a service token.

    One attempt may take `timeout_seconds`: a long poll takes up to 75. Nothing is sent yet.
    """
    return AuthenticatedClient(base_url=url, token=credential, timeout=httpx.Timeout(timeout_seconds))


__all__ = ["ApiError", "AuthenticatedClient", "Client", "Upload", "connect", "expect", "items", "send_lines", "wait_for_result"]

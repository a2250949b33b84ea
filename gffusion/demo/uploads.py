"""Limit what uploads take of the disk of the computer that runs the demo."""

import asyncio
import os
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

FILES = 100
"""Files of the largest size for which the demo has space."""
_ENTRY = 4096  # bytes of the disk that a file or a folder takes beside its content
_FORM = 2**16  # bytes of a request beside its file

Scope = MutableMapping[str, Any]
Receive = Callable[[], Any]
Send = Callable[[MutableMapping[str, Any]], Any]


class UploadLimits:
    """ASGI middleware that refuses uploads of more than one file of the largest size, and all if the folder is full.

    Args:
        app: The application.
        folder: Folder of uploads and results.
        max_bytes: Largest size of a file.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Any], folder: str, max_bytes: int) -> None:
        self._app, self._folder, self._max_bytes = app, folder, max_bytes
        self._uploads = 0  # that have begun, and can have the largest size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or not scope["path"].endswith("/upload"):
            await self._app(scope, receive, send)
            return
        self._uploads += 1
        try:
            if refusal := await self._find_refusal(dict(scope["headers"])):
                while (await receive()).get("more_body"):  # clients read the answer after they have sent all
                    pass
                await _answer(send, *refusal)
            else:
                await self._app(scope, receive, send)
        finally:
            self._uploads -= 1

    async def _find_refusal(self, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        if b"content-length" not in headers:
            return 411, "uploads need a Content-Length"
        if int(headers[b"content-length"]) > self._max_bytes + _FORM:
            return 413, "upload one file at a time, of less than the maximum allowed size"
        used = await asyncio.to_thread(_measure_folder, self._folder)
        if used + self._uploads * self._max_bytes > FILES * self._max_bytes:
            return 507, "the demo has no space for more files: try again in an hour"
        return None


def _measure_folder(folder: str) -> int:
    """Return the bytes that a folder takes, also while files are deleted."""
    total = 0
    for parent, _, names in os.walk(folder):
        total += _ENTRY
        for name in names:
            try:
                total += _ENTRY + Path(parent, name).stat().st_size
            except FileNotFoundError:
                continue
    return total


async def _answer(send: Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})

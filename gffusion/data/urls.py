"""Download images from URLs, with limits on size and time."""

import http.client
import queue
import threading
import time
import urllib.parse
import urllib.request

from .bounds import max_image_bytes

_TOTAL = 6  # time for the whole file, as a multiple of the time-out
_PART = 1 << 16
# Other handlers of urllib read local files and FTP, to which a server could redirect.
_HANDLERS = (
    urllib.request.ProxyHandler,
    urllib.request.HTTPHandler,
    urllib.request.HTTPSHandler,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPRedirectHandler,
    urllib.request.HTTPErrorProcessor,
    urllib.request.UnknownHandler,
)


def is_url(source: object) -> bool:
    """Return whether a source is an address of a web server.

    Examples:
        >>> is_url("https://example.org/a.png"), is_url("file:///etc/passwd")
        (True, False)
    """
    return isinstance(source, str) and source.lower().startswith(("http://", "https://"))


def read_url(address: str, timeout: float | None = None, max_bytes: int = max_image_bytes()) -> bytes:
    """Return the content at a URL.

    Args:
        address: The URL, with http or https.
        timeout: Seconds to wait for an answer; the whole download may take six times as long. Defaults to 20.
        max_bytes: Largest size of the content.

    Raises:
        OSError: If it cannot be read, is too large, or takes too long.
    """
    seconds = 20.0 if timeout is None else timeout
    answer: queue.Queue[bytes | Exception] = queue.Queue()
    # A thread, because no time-out of a socket limits how long a server sends a byte now and then.
    threading.Thread(target=_download, args=(address, seconds, max_bytes, answer), daemon=True).start()
    try:
        content = answer.get(timeout=_TOTAL * seconds)
    except queue.Empty:
        content = TimeoutError(f"it takes longer than {_TOTAL * seconds:g} s: pass a longer `timeout`")
    if isinstance(content, Exception):
        raise OSError(f"Cannot read the image at {address}: {content}") from content
    return content


def _download(address: str, seconds: float, max_bytes: int, answer: "queue.Queue[bytes | Exception]") -> None:
    address = urllib.parse.quote(address, safe="%/:?#[]@!$&'()*+,;=~")  # names in any script
    opener, end = urllib.request.OpenerDirector(), time.monotonic() + _TOTAL * seconds
    for handler in _HANDLERS:
        opener.add_handler(handler())
    parts, size = [], 0
    try:
        with opener.open(address, timeout=seconds) as response:
            declared = response.headers.get("Content-Length", "0")
            while size <= max_bytes and int(declared if declared.isdecimal() else 0) <= max_bytes:
                if time.monotonic() > end:
                    return
                part = response.read1(_PART)
                if not part:
                    break
                parts.append(part)
                size += len(part)
            else:
                raise OSError(f"it has more than {max_bytes:,} bytes")
            if declared.isdecimal() and int(declared) > size and not response.headers.get("Content-Encoding"):
                raise OSError(f"the server sent {size} of {declared} bytes")
        answer.put(b"".join(parts))
    except (OSError, ValueError, http.client.HTTPException) as error:
        answer.put(error)

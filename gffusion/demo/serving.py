"""Serve the demo."""

import os
import socket
import tempfile
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from gffusion.utils.extras import check_extra

from .settings import DemoSettings
from .turns import Turns

_MAX_SECONDS_TO_STOP = 30  # Python must not end while a thread computes with PyTorch, which aborts the process

# Everything that a browser may load comes from this server, so that the page works without network, and no other host
# learns who uses it. Gradio needs inline scripts and `eval`.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "connect-src 'self' data: blob:; object-src 'none'; base-uri 'self'; form-action 'self'"
)
_CSS = """
.gradio-container {
  --font: system-ui, sans-serif; --font-mono: ui-monospace, monospace;
  --block-info-text-color: var(--body-text-color); --block-label-text-color: var(--body-text-color);
  --block-title-text-color: var(--body-text-color);
}
.hint { padding: 48px 16px; text-align: center; border: 1px dashed var(--border-color-primary); border-radius: 8px; }
.metrics, .metrics :is(thead, tbody, tr) { border: 0 !important; }
.metrics { width: 100%; border-collapse: collapse; }
.metrics caption { padding: 4px 8px; font-weight: 600; text-align: left; }
.metrics th, .metrics td { padding: 4px 8px; border: 0; border-bottom: 1px solid var(--border-color-primary); text-align: left; }
.metrics th, .metrics td:nth-child(2) { white-space: nowrap; }
.metrics td:nth-child(2) { text-align: right; font-variant-numeric: tabular-nums; }
"""

# Gradio names all upload fields alike: screen readers need the label of each, and the name of the file in it.
_NAME_UPLOADS = """
() => {
  const name = () => document.querySelectorAll('.upload').forEach((block) => {
    const label = block.querySelector('[data-testid=block-label]')?.textContent.trim();
    block.querySelectorAll('button, a, input').forEach((item) => {
      item.dataset.action ??= item.getAttribute('aria-label') || `Download ${item.getAttribute('download')}`;
      const wanted = `${label}: ${item.dataset.action}`;
      if (item.getAttribute('aria-label') !== wanted) item.setAttribute('aria-label', wanted);
    });
  });
  new MutationObserver(name).observe(document.body, { childList: true, subtree: true });
  name();
}
"""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Any]
Send = Callable[[MutableMapping[str, Any]], Any]


class ContentSecurityPolicy:
    """ASGI middleware that forbids browsers to load anything from other hosts."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Any]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def send_with_policy(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", _POLICY.encode())]
            await send(message)

        await self._app(scope, receive, send_with_policy)


def check_gradio() -> None:
    """Raise ImportError if Gradio is missing or too old, without importing it."""
    check_extra("demo", "the demo needs {}", "gradio", is_version_needed=True)


def check_address(host: str, port: int | None = None) -> None:
    """Raise OSError if this computer cannot listen on an address, before anything is loaded.

    Examples:
        >>> check_address("127.0.0.1")
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host.strip("[]"), port or 0), family=family).close()
    except OSError as error:
        raise OSError(
            f"cannot listen on --host {host}{f' --port {port}' if port else ''}: {error.strerror or error}; choose another one"
        ) from error


@contextmanager
def serve(settings: DemoSettings, host: str = "127.0.0.1", port: int | None = None) -> Iterator[tuple[Any, str]]:
    """Serve the demo in a background thread, and return the Gradio app and its address; stop it at the end.

    Args:
        settings: Models and limits.
        host: Address to listen on; "0.0.0.0" for all interfaces.
        port: Port. By default, the first free one from 7860.

    Raises:
        ImportError: If Gradio is not installed.
        OSError: If the port is not free, see [`check_address`].
    """
    with tempfile.TemporaryDirectory(prefix="gffusion-demo-") as folder:
        # Gradio reads them when it is imported, or when components are created.
        os.environ.update(GRADIO_ANALYTICS_ENABLED="False", GRADIO_TEMP_DIR=folder)
        check_gradio()
        import gradio as gr
        from starlette.middleware import Middleware

        from .page import create_page

        turns = Turns()
        page = create_page(settings, turns)
        theme = gr.themes.Default(
            primary_hue="blue", font=gr.themes.Font("sans-serif"), font_mono=gr.themes.Font("monospace")
        ).set(  # with a contrast of at least 4.5 to 1
            body_text_color_subdued="*neutral_500",
            color_accent="*primary_600",
            button_primary_background_fill="*primary_600",
            button_primary_background_fill_hover="*primary_700",
            button_primary_border_color="*primary_600",
        )
        _, address, _ = page.launch(
            server_name=f"[{host.strip('[]')}]" if ":" in host else host,  # as in the address of the page
            server_port=port,
            share=False,
            prevent_thread_lock=True,
            quiet=True,
            inbrowser=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            enable_monitoring=False,
            run_history=False,
            footer_links=[],
            theme=theme,
            css=_CSS,
            js=_NAME_UPLOADS,
            max_file_size=settings.max_megabytes * 2**20,
            app_kwargs={"middleware": [Middleware(ContentSecurityPolicy)], "docs_url": None, "redoc_url": None},
        )
        try:
            yield page, address
        finally:
            page.close(verbose=False)
            turns.cancel(_MAX_SECONDS_TO_STOP)

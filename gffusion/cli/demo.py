"""`gffusion demo`: try models in the browser."""

import time
from typing import Annotated

import typer

from .device import choose_device, choose_dtype
from .errors import user_errors
from .library_logging import quiet_libraries
from .options import DeviceOption


def demo(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="Model to choose from: a name, a folder or a Hub id; can be repeated. [default: all listed models with weights]",
        ),
    ] = None,
    bundled_only: Annotated[
        bool, typer.Option("--bundled-only", help="Offer only models that are part of the package.")
    ] = False,
    device: DeviceOption = "auto",
    host: Annotated[
        str,
        typer.Option(
            "--host",
            metavar="ADDRESS",
            help="IPv4 or IPv6 address to listen on. 0.0.0.0 lets other computers use the demo, without a password.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            min=1,
            max=65535,
            metavar="NUMBER",
            help="Port to listen on. [default: the first free one from 7860]",
        ),
    ] = None,
    max_pixels: Annotated[
        int, typer.Option("--max-pixels", min=1024, metavar="COUNT", help="Refuse images with more pixels.")
    ] = 16_000_000,
    max_megabytes: Annotated[
        int, typer.Option("--max-megabytes", min=1, metavar="COUNT", help="Refuse files with more megabytes.")
    ] = 64,
    max_frames: Annotated[
        int, typer.Option("--max-frames", min=1, metavar="COUNT", help="Refuse videos with more frames.")
    ] = 500,
    max_seconds: Annotated[
        int,
        typer.Option(
            "--max-seconds", min=1, metavar="COUNT", help="Stop the fusion of a video after this time, in seconds."
        ),
    ] = 120,
    share: Annotated[bool, typer.Option("--share", help="Refused: it would open the demo to the internet.")] = False,
) -> None:
    """Try models in the browser: fuse two files, one radiometric file, a sample or two videos; needs the extra "demo".

    The page is for one computer or a trusted network: it has no password. It loads nothing from other hosts.
    """
    with user_errors():
        if share:
            raise ValueError(
                "--share is refused: it would open the demo to the internet through another company's server. Use --host "
                "0.0.0.0 in a trusted network, an SSH tunnel, or the Hugging Face Space in spaces/gffusion"
            )
        from gffusion.demo.serving import check_address, check_gradio, serve  # saves start-up time
        from gffusion.demo.settings import DemoSettings, choose_models

        models = choose_models(tuple(model or ()), bundled_only)
        check_address(host, port)
        check_gradio()
        quiet_libraries()
        place = choose_device(device)
        dtype = str(choose_dtype(None, place)).removeprefix("torch.")
        settings = DemoSettings(models, place, dtype, max_pixels, max_megabytes, max_frames, max_seconds)
        with serve(settings, host, port) as (_, address):
            typer.echo(f"the demo is at {address} (Ctrl-C stops it)")
            while True:
                time.sleep(3600)

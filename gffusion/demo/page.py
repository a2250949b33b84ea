"""The page of the demo, built with Gradio."""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio_client.utils import is_file_obj_with_meta, traverse

from gffusion.data import IMAGE_SUFFIXES
from gffusion.data.other_files import VIDEO_SUFFIXES
from gffusion.metrics import METRICS
from gffusion.video.opening import import_av

from .images import ImageRequest, ImageResult, fuse_upload
from .messages import IMAGE_HINTS, VIDEO_HINTS, add_hint, describe_error
from .samples import SAMPLES, write_clip, write_sample
from .settings import DemoSettings
from .slider import SCRIPT, STYLE, render_slider
from .turns import Turns
from .videos import VideoRequest, fuse_clip

MAX_QUEUE = 16
_LOCK: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "fuse"}  # of all events that compute
_AS_VISIBLE = "as the visible image"
_FORMATS = [_AS_VISIBLE, ".png", ".jpg", ".tif", ".webp"]
_OF_MODEL = "as saved with the model"
_RANGES = [_OF_MODEL, "type", "percentile"]
_EMPTY = '<p class="hint">The result appears here: choose two files or a sample.</p>'
_DOWNLOADS = ("fused file", "label map", "overlay")
_ERRORS = (OSError, ValueError, MemoryError, RuntimeError, ImportError)


class _Page(gr.Blocks):
    """A page that takes files only as uploads: Gradio would download addresses for inputs of any kind, even for text."""

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *args: Any, **options: Any) -> Any:
        traverse(inputs, _refuse_address, is_file_obj_with_meta)
        return await super().preprocess_data(block_fn, inputs, *args, **options)


def create_page(settings: DemoSettings, turns: Turns) -> gr.Blocks:
    """Return the page of the demo, which is not served yet; its requests are computed in turns."""
    with _Page(title="gffusion demo", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.Markdown(
            "# gffusion\nFuse a visible and an infrared image of the same scene into one image that shows both. Files are "
            "processed on the computer that runs this demo, and deleted after an hour."
        )
        with gr.Tab("Images"):
            _add_images(settings, turns)
        with gr.Tab("Video"):
            _add_video(settings, turns)
    return page.queue(max_size=MAX_QUEUE, default_concurrency_limit=1)


def _refuse_address(file: dict[str, Any]) -> None:
    if "://" in file["path"]:
        raise gr.Error("upload a file: addresses are not opened", print_exception=False)


def _add_images(settings: DemoSettings, turns: Turns) -> None:
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            visible = _add_upload("Visible image, or one file with both", IMAGE_SUFFIXES)
            infrared = _add_upload("Infrared image, unless the file has both", IMAGE_SUFFIXES)
            gr.Markdown("Or try a rendered sample:")
            with gr.Row(elem_classes="samples"):
                samples = [gr.Button(name, size="md", min_width=130) for name in SAMPLES]
            model, align, segment = _add_choices(settings, "gffusion-tiny")
            with gr.Accordion("More options", open=False):
                infrared_range = gr.Dropdown(
                    _RANGES, label="Infrared range", info="Raw 14- or 16-bit thermal images need percentile."
                )
                invert = gr.Checkbox(
                    label="Invert the infrared image", info="For images in which cold objects are bright."
                )
                suffix = gr.Dropdown(_FORMATS, label="Format of the fused file")
                visible_range = gr.Textbox(
                    "",
                    label="Visible range",
                    info="Black and white of 10- to 14-bit images and reflectance, such as 0,4095.",
                )
            button = gr.Button("Fuse", variant="primary", size="lg")
            _describe_limits(f"Images: up to {settings.max_pixels / 1e6:g} megapixels", settings)
        with gr.Column(scale=3, min_width=300):
            slider = gr.HTML(_EMPTY, css_template=STYLE, js_on_load=SCRIPT, elem_id="slider")
            files = _add_downloads()
            notes = gr.HTML(elem_id="notes")
            metrics = gr.HTML(elem_id="metrics")
    inputs = [visible, infrared, model, align, segment, infrared_range, invert, suffix, visible_range]
    outputs = [slider, *files, notes, metrics]
    run = partial(_run_images, settings, turns)
    _clear_at([button.click, *(sample.click for sample in samples), visible.change, infrared.change], _EMPTY, outputs)
    gr.on(button.click, run, inputs, outputs, api_name="fuse", show_progress_on=slider, **_LOCK)
    for sample in samples:
        loaded = sample.click(
            partial(_load_sample, sample.value), None, [visible, infrared, align], api_visibility="private", **_LOCK
        )
        loaded.success(run, inputs, outputs, api_visibility="private", show_progress_on=slider, **_LOCK)


def _add_video(settings: DemoSettings, turns: Turns) -> None:
    try:
        import_av()
    except ImportError as error:
        gr.Markdown(f"`{error}`, then start the demo again.")
        return
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            visible = _add_upload("Visible video", VIDEO_SUFFIXES)
            infrared = _add_upload("Infrared video", VIDEO_SUFFIXES)
            sample = gr.Button("Try a rendered clip")
            model, align, segment = _add_choices(settings, "gffusion-live")
            button = gr.Button("Fuse videos", variant="primary", size="lg")
            limits = f"Videos: up to {settings.max_frames} frames and {settings.max_seconds} seconds of computing"
            _describe_limits(limits, settings)
        with gr.Column(scale=3, min_width=300):
            player = gr.Video(label="Fused video", interactive=False, elem_id="player")
            player.change(
                None,
                player,
                js="video => video && document.querySelector('#player').scrollIntoView({ block: 'nearest' })",
            )
            files = _add_downloads()
            notes = gr.HTML(elem_id="video-notes")
    inputs, outputs = [visible, infrared, model, align, segment], [player, *files, notes]
    run = partial(_run_video, settings, turns)
    _clear_at([button.click, sample.click, visible.change, infrared.change], None, outputs)
    button.click(run, inputs, outputs, api_name="fuse_video", show_progress_on=player, **_LOCK)
    loaded = sample.click(_load_clip, None, [visible, infrared], api_visibility="private", **_LOCK)
    loaded.success(run, inputs, outputs, api_visibility="private", show_progress_on=player, **_LOCK)


def _add_upload(label: str, suffixes: Sequence[str]) -> gr.File:
    upload = gr.File(label=label, file_types=list(suffixes), height=150, elem_classes="upload")
    move = upload.async_move_resource_to_block_cache

    async def check(source: str | Path | None) -> str | None:
        if source is not None and Path(source).suffix.lower() not in suffixes:
            name = escape(Path(source).name)
            raise gr.Error(f"{name} is refused: its suffix must be one of {', '.join(suffixes)}", print_exception=False)
        return await move(source)

    upload.async_move_resource_to_block_cache = check
    return upload


def _add_choices(settings: DemoSettings, default: str) -> tuple[gr.Dropdown, gr.Checkbox, gr.Checkbox]:
    model = gr.Dropdown(
        list(settings.models), value=default if default in settings.models else settings.models[0], label="Model"
    )
    align = gr.Checkbox(label="Align the images", info="For two cameras whose images do not match pixel by pixel.")
    segment = gr.Checkbox(label="Segment people and vehicles", info="Needs a model with a segmenter: gffusion-tiny.")
    return model, align, segment


def _add_downloads() -> list[gr.DownloadButton]:
    """Return hidden buttons for the fused file, the label map and the overlay."""
    with gr.Row():
        return [gr.DownloadButton(visible=False, min_width=160) for _ in _DOWNLOADS]


def _offer(files: Sequence[Path]) -> list[gr.DownloadButton]:
    """Return the buttons for as many files as there are."""
    shown = [
        gr.DownloadButton(f"Download {kind}", str(file), visible=True)
        for kind, file in zip(_DOWNLOADS[: len(files)], files, strict=True)
    ]
    return shown + [gr.DownloadButton(value=None, visible=False)] * (len(_DOWNLOADS) - len(shown))


def _clear_at(events: Sequence[Any], empty: str | None, outputs: Sequence[Any]) -> None:
    """Remove former results and errors at these events: a request that fails does not replace a result, and new files are not its files."""
    hidden = [{"__type__": "update", "value": None, "visible": False}] * len(_DOWNLOADS)
    texts = [""] * (len(outputs) - 1 - len(_DOWNLOADS))
    # In the browser, before the request is sent, so that no answer of the server is overtaken.
    cleared = json.dumps([empty, *hidden, *texts])
    close = "document.querySelectorAll('[data-testid=toast-close]').forEach(button => button.click())"
    gr.on(events, None, None, outputs, js=f"() => {{ {close}; return {cleared} }}", api_visibility="private")


def _describe_limits(limits: str, settings: DemoSettings) -> None:
    gr.Markdown(f"{limits}, {settings.max_megabytes} MB per file. One request is computed at a time.")


def _load_sample(name: str) -> Iterator[tuple[str, str, bool]]:
    with tempfile.TemporaryDirectory() as folder:
        visible, infrared = write_sample(name, Path(folder))
        yield str(visible), str(infrared), not SAMPLES[name][1]


def _load_clip() -> Iterator[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        visible, infrared = write_clip(Path(folder))
        yield str(visible), str(infrared)


def _run_images(
    settings: DemoSettings,
    turns: Turns,
    visible: str | None,
    infrared: str | None,
    model: str,
    align: bool,
    segment: bool,
    infrared_range: str,
    invert: bool,
    suffix: str,
    visible_range: str,
) -> Iterator[tuple[Any, ...]]:
    if visible is None:
        raise _fail("choose a visible image and an infrared one, or a file that holds both, or a sample")
    request = ImageRequest(
        Path(visible),
        None if infrared is None else Path(infrared),
        model,
        align,
        segment,
        None if infrared_range == _OF_MODEL else infrared_range,
        invert,
        None if suffix == _AS_VISIBLE else suffix,
        visible_range.strip() or None,
    )
    with tempfile.TemporaryDirectory() as folder:
        folders: list[str | Path] = [*_parents(visible, infrared), folder]
        result = _call(lambda _: fuse_upload(request, Path(folder), settings), turns, folders, IMAGE_HINTS)
        shown = render_slider(result.images, result.classes)
        # Gradio copies the files before it continues here, and the folder is removed.
        notes = _list_notes(model, (visible, infrared), result.notes, IMAGE_HINTS)
        yield shown, *_offer(result.files), notes, _tabulate(result)


def _run_video(
    settings: DemoSettings,
    turns: Turns,
    visible: str | None,
    infrared: str | None,
    model: str,
    align: bool,
    segment: bool,
    progress: gr.Progress = gr.Progress(),  # noqa: B008 # Gradio finds it by this default
) -> Iterator[tuple[Any, ...]]:
    if visible is None or infrared is None:
        raise _fail("choose a visible and an infrared video, or the rendered clip")
    request = VideoRequest(Path(visible), Path(infrared), model, align, segment)
    with tempfile.TemporaryDirectory() as folder:
        folders: list[str | Path] = [*_parents(visible, infrared), folder]
        files, notes = _call(
            lambda check: fuse_clip(request, Path(folder), settings, progress, check), turns, folders, VIDEO_HINTS
        )
        notes = _list_notes(model, (visible, infrared), notes, VIDEO_HINTS)
        yield str(files[0]), *_offer(files), notes


def _parents(*files: str | None) -> list[Path]:
    return [Path(file).parent for file in files if file is not None]


def _call(
    function: Callable[[Callable[[], None]], Any], turns: Turns, folders: Sequence[str | Path], hints: Mapping[str, str]
) -> Any:
    try:
        with turns.take() as check:
            return function(check)
    except _ERRORS as error:
        raise _fail(describe_error(error, folders, hints)) from None


def _fail(message: str) -> gr.Error:
    """Return the error that Gradio shows as one line of HTML, without a traceback in the log."""
    return gr.Error(escape(message), duration=None, print_exception=False)


def _tabulate(result: ImageResult) -> str:
    if not result.metrics:
        return ""
    rows = "".join(
        f"<tr><th scope='row'>{name} {'↑' if METRICS[name].higher_is_better else '↓'}</th><td>{value:.3f}</td>"
        f"<td>{escape(METRICS[name].title)}</td></tr>"
        for name, value in result.metrics.items()
    )
    return (
        "<table class='metrics'><caption>Metrics of the fused file (↑ higher is better, ↓ lower is better)</caption>"
        f"<thead><tr><th>Metric</th><th>Value</th><th>Meaning</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def _list_notes(model: str, files: Sequence[str | None], notes: Sequence[str], hints: Mapping[str, str]) -> str:
    """Return a list in HTML: Markdown would make links and images of names in files.

    It begins with what the result was made of, because the choices on the page can change meanwhile.
    """
    names = " and ".join(Path(file).name for file in files if file is not None)
    lines = (f"{names}, fused by {model}", *(add_hint(note, hints) for note in notes))
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"

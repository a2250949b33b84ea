"""Messages of the library as users of the command line read them: options as they typed them, warnings on one line each."""

import contextlib
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import typer

from gffusion.utils.atomic import describe_error
from gffusion.utils.escaping import escape_controls
from gffusion.utils.notes import get_subject

from .printing import print_line

# Bounded, so that the time is linear in the length of messages, which can contain names of strangers.
_NAME = r'(?:`[^`]{1,200}`|\b[a-z]\w{0,50}=(?:"[^"]{0,200}"|(?!")[^\s()]{1,200})|\b[a-z]{1,50}(?:_[a-z]{1,50}){1,9})'
_NAMES = rf"{_NAME}(?:(?:, | and | or ){_NAME}){{0,9}}"
# Forms in which messages give both spellings, and the part that remains.
_BOTH = (
    (re.compile(rf"{_NAMES} \(`?(--[^()`]{{0,200}})`?\)"), r"\1"),
    (re.compile(rf"\({_NAMES}[;,] `?(--[^()`]{{0,200}})`?\)"), r"(\1)"),
    (re.compile(rf"{_NAME} or `(--[^`]{{1,200}})`"), r"\1"),
)
_OPTION = re.compile(r'`(\w{1,50})(?:="?([^`"]{0,200})"?)?`|\b(\w{1,50})=(?:"([^"]{0,200})"|(\[low, high\]))')
_DASHED = re.compile(r"(?<!\S)--([a-z]{1,50}(?:-[a-z]{1,50}){1,9})\b")  # options of `gffusion train` have underscores
_EXTRA = re.compile(r'pip install "gffusion(\[\w+\])"')

_options: dict[str, str] = {}
_printed: list[tuple[str, str]] = []  # kinds and texts


def use_options(parameters: Sequence[Any]) -> None:
    """Set the options of the command that runs, as parameters of typer."""
    options = {parameter.name: max(parameter.opts, key=len) for parameter in parameters}
    name_options({name: option for name, option in options.items() if option.startswith("--")})
    _options.update(
        {f"{parameter.name}=False": parameter.secondary_opts[0] for parameter in parameters if parameter.secondary_opts}
    )
    if "model" in _options:
        _options["models"] = _options["model"]  # the name in Python


def name_options(options: dict[str, str]) -> None:
    """Set the options of the command that runs, by their names in Python."""
    _options.clear()
    _options.update(options)


def translate(text: str) -> str:
    """Return a message of the library with its options as they are typed on the command line.

    Examples:
        >>> translate('pass `crop` (--crop), or infrared_range="type" (--infrared-range type)')
        'pass --crop, or --infrared-range type'
    """
    for pattern, kept in _BOTH:
        text = pattern.sub(kept, text)
    text = _OPTION.sub(_spell, text)
    text = _DASHED.sub(lambda match: _options.get(match[1].replace("-", "_"), match[0]), text)
    if _EXTRA.search(text):
        from gffusion.doctor.packages import get_pip_target  # saves start-up time

        text = _EXTRA.sub(lambda match: f"pip install {get_pip_target(match[1])}", text)
    return text


def _spell(match: re.Match[str]) -> str:
    name = match[1] or match[3]
    value = match[2] or match[4] or ("LOW,HIGH" if match[5] else "")
    if name not in _options:
        return match[0]
    if value == "False":
        return _options.get(f"{name}=False", f"{_options[name]} false")
    return f"{_options[name]} {value}" if value and value != "True" else _options[name]


def one_line(error: BaseException | str) -> str:
    """Return an error's message without line breaks, as users of the command line read it."""
    text = error if isinstance(error, str) else describe_error(error)
    return escape_controls(translate(" ".join(text.split()))) or type(error).__name__


def print_note(text: str) -> None:
    """Print what was changed or assumed."""
    line = one_line(text)
    print_line(f"note: {line}", err=True)
    _printed.append(("note", line))


def print_warning(text: str) -> None:
    """Print a warning."""
    line = one_line(text)
    typer.echo(f"warning: {line}", err=True)
    _printed.append(("warning", line))


def print_measured(text: str) -> None:
    """Print a result of measuring all files, as their rig or range."""
    line = one_line(text)
    print_line(line)
    _printed.append(("measured", line))


def list_printed(*kinds: str) -> list[str]:
    """Return what this command printed as `"note"`, `"warning"` or `"measured"`."""
    return [text for kind, text in _printed if kind in kinds]


class _Printer(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        text, subject = record.getMessage(), get_subject()
        print_warning(f"{subject}: {text}" if subject and subject not in text else text)


@contextlib.contextmanager
def printed_warnings() -> Iterator[None]:
    """Print warnings of this package and of Python as lines that begin with `warning:`."""
    logger, printer = logging.getLogger("gffusion"), _Printer(logging.WARNING)
    show = warnings.showwarning
    _printed.clear()
    logger.addHandler(printer)
    warnings.showwarning = lambda message, *_, **__: print_warning(str(message))
    try:
        yield
    finally:
        warnings.showwarning = show
        logger.removeHandler(printer)

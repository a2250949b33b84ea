"""Summaries of the notes on many pairs, and the files that warnings and errors are about."""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

NOT_COMPARED = "(model and options are not compared)"
"""Part of notes about outputs that are kept."""

_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
# A share in percent, or the value of an image that has only one: of both, many images have different ones.
_SHARE = re.compile(rf"(?<![\w.])\d+(?:\.\d+)?(?:e[+-]?\d+)? %|(?<=all infrared values are ){_NUMBER.pattern}(?=, as)")

_subject: ContextVar[str] = ContextVar("subject", default="")


def name_first(things: Sequence[object], shown: int = 3) -> str:
    """Return the first names for a message, at most `shown`.

    Examples:
        >>> name_first("abcd")
        'a, b, c, ...'
    """
    return ", ".join(map(str, things[:shown])) + ", ..." * (len(things) > shown)


def format_count(number: int, noun: str) -> str:
    """Return a number of things in words.

    Examples:
        >>> format_count(1, "pair"), format_count(2, "pair")
        ('1 pair', '2 pairs')
    """
    return f"{number} {noun}{'s' * (number != 1)}"


@contextmanager
def about(*files: object) -> Iterator[None]:
    """Let warnings of this thread be about these files.

    Examples:
        >>> with about("1.png", "2.png"):
        ...     get_subject()
        '1.png, 2.png'
    """
    token = _subject.set(name_first(files))
    try:
        yield
    finally:
        _subject.reset(token)


@contextmanager
def name_in_errors(where: str) -> Iterator[None]:
    """Begin the messages of ValueError with a file or a place, unless they begin with it.

    Examples:
        >>> with name_in_errors("1.png"):
        ...     raise ValueError("it is empty")
        Traceback (most recent call last):
            ...
        ValueError: 1.png: it is empty
    """
    try:
        yield
    except ValueError as error:
        if str(error).casefold().startswith(f"{where} ".casefold()):
            raise
        raise ValueError(f"{where}: {error}") from error


def get_subject() -> str:
    """Return the files that warnings of this thread are about, or an empty text."""
    return _subject.get()


def get_kind(note: str) -> str:
    """Return a note without its shares in percent and the value of a constant image, which differ between images of one kind.

    Examples:
        >>> get_kind("border (2 %) filled")
        'border ({}) filled'
    """
    return _SHARE.sub("{}", note)


def find_new_kinds(notes: Iterable[str], seen: set[str]) -> list[str]:
    """Return the first note of every kind that is not in `seen`, and add its kind, which is the note without its numbers.

    Of such kinds there are few, however many images are read.

    Examples:
        >>> seen = set()
        >>> find_new_kinds(["identical since 0.040 s", "identical since 0.080 s"], seen), find_new_kinds(["identical since 2 s"], seen)
        (['identical since 0.040 s'], [])
    """
    new = []
    for note in notes:
        if (kind := _NUMBER.sub("{}", note)) not in seen:
            seen.add(kind)
            new.append(note)
    return new


def summarize_notes(notes: Iterable[str]) -> list[tuple[str, int]]:
    """Return every kind of note once, with its count; shares in percent and values of constant images become their range.

    Examples:
        >>> summarize_notes(["border (2 %) filled", "aligned", "border (12 %) filled"])
        [('border (2 to 12 %) filled', 2), ('aligned', 1)]
    """
    return [(note, len(names)) for note, names in group_notes(("", note) for note in notes)]


def _fill(texts: tuple[str, ...], shares: list[list[str]]) -> str:
    """Return a note of the texts before, between and after the ranges of its shares."""
    ranges = []
    for column in zip(*shares, strict=True):
        low, *_, high = sorted([*column, *column], key=lambda share: float(share.removesuffix(" %")))
        ranges.append(high if low == high else f"{low.removesuffix(' %')} to {high}")
    return "".join(itertools.chain(*itertools.zip_longest(texts, ranges, fillvalue="")))


def group_notes(notes: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Return every kind of note once, as [`summarize_notes`] does, with the names of the pairs that have it."""
    kinds: dict[tuple[str, ...], tuple[list[list[str]], list[str]]] = {}
    for name, note in notes:
        shares, names = kinds.setdefault(tuple(_SHARE.split(note)), ([], []))
        shares.append(_SHARE.findall(note))
        names.append(name)
    return [(_fill(texts, shares), names) for texts, (shares, names) in kinds.items()]

"""Convert command lines and recipes to instances of option dataclasses.

This uses argparse instead of transformers' HfArgumentParser, which takes over a second to import, fails on the metadata and
changes the field types that huggingface_hub's `strict` reads, and converts items of lists before commas can be split.
"""

import argparse
import dataclasses
import inspect
import json
import re
from collections.abc import Iterable, Mapping
from types import NoneType
from typing import Any, Literal, NoReturn, get_args, get_origin

from .unknown_options import advise

_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_CONVERTERS: Any = {bool: lambda text: _BOOLEANS.get(text.lower(), text), int: int, float: float, dict: json.loads}
# Markup of docstrings; argparse formats its texts with %.
_PLAIN = str.maketrans({"`": "", "[": "", "]": "", "%": "%%"})


class _Once(argparse.Action):
    """Store a list that must not be given twice: whether the second one replaces the first or adds to it is not clear."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        if hasattr(namespace, self.dest):
            parser.error(f"`{self.dest}` is given several times: give all its values after one, separated by spaces")
        setattr(namespace, self.dest, values)


class OptionParser(argparse.ArgumentParser):
    """Parser with an option for each field of some dataclasses, described by their docstrings.

    An option is spelled like its field, with underscores or dashes, and cannot be abbreviated. Lists take several words, or
    one word with commas. Lists of texts, such as folders, can be given once, other options several times: the last one counts.

    Args:
        kinds: Title of a group in the help -> dataclass. Field names must be unique.
        options: Options of `argparse.ArgumentParser`.

    Examples:
        >>> from gffusion.training.recipe import DataArguments
        >>> OptionParser({"data": DataArguments}).parse_words(["--crop-size", "96", "--scale", "0.5,1"])
        {'crop_size': '96', 'scale': ['0.5', '1']}
    """

    def __init__(self, kinds: Mapping[str, type], **options: Any) -> None:
        options = {"usage": "%(prog)s [--config RECIPE] [options]", **options}
        form = argparse.RawDescriptionHelpFormatter
        super().__init__(allow_abbrev=False, argument_default=argparse.SUPPRESS, formatter_class=form, **options)
        self.names: set[str] = set()
        self._typed: dict[str, str] = {}
        self.in_file: frozenset[str] = frozenset()  # names that messages leave as they are
        for title, kind in kinds.items():
            group, descriptions = self.add_argument_group(title), describe_arguments(kind)
            for field in dataclasses.fields(kind):
                self.names.add(field.name)
                text = descriptions[field.name] + _describe_default(field)
                group.add_argument(f"--{field.name}", help=text, **_argparse_options(field.type))

    def parse_words(self, words: Iterable[str]) -> dict[str, Any]:
        """Return the options of a command line, as text; exit with a message if one is unknown or lacks its value."""
        words = list(words)
        self._typed = find_options(words)
        options, unknown = self.parse_known_args([_underscored(word) for word in words])
        if unknown:
            self.error(f"unknown option {unknown[0]}{self.suggest(unknown[0])}")
        return {
            name: [item for word in value for item in _split(word)] if isinstance(value, list) else value
            for name, value in vars(options).items()
        }

    def suggest(self, name: str) -> str:
        """Return what to use instead of an unknown option, or a hint at `--help`."""
        wanted = name.partition("=")[0].lstrip("-").replace("-", "_")
        return advise(wanted, self.names, "--" if name.startswith("-") else "") or f"; see `{self.prog} --help`"

    def error(self, message: str) -> NoReturn:
        """Print the message without the usage, and exit with status 2."""
        message = re.sub(r"`(\w+)`", self._spell, message)
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")

    def _spell(self, match: re.Match[str]) -> str:
        name = match[1]
        is_option = name in self.names and name not in self.in_file
        return self._typed.get(name, f"--{name}" if is_option else match[0])


def find_options(words: Iterable[str]) -> dict[str, str]:
    """Return the options of a command line as they were typed, by the names of their fields.

    Examples:
        >>> find_options(["--crop-size", "96", "--scale=1"])
        {'crop_size': '--crop-size', 'scale': '--scale'}
    """
    options = [word.partition("=")[0] for word in words if word.startswith("--")]
    return {option[2:].replace("-", "_"): option for option in options}


def make(kind: type, options: Mapping[str, Any]) -> Any:
    """Return an instance of a dataclass, with options as text or from YAML. Other options than its fields are ignored.

    Text is converted to the type of its field if possible, and otherwise left to the check of the dataclass.

    Raises:
        ValueError: If a field without default is missing, or the dataclass rejects a value.
    """
    values = {}
    for field in dataclasses.fields(kind):
        if options.get(field.name) is not None:
            values[field.name] = convert(field.type, options[field.name])
        elif field.default is field.default_factory is dataclasses.MISSING:
            raise ValueError(f"`{field.name}` is missing: set it in the recipe or on the command line.")
    return kind(**values)


def describe_arguments(kind: type) -> dict[str, str]:
    """Return the description of each argument in a Google-style docstring, as argparse expects it."""
    entries = inspect.cleandoc(kind.__doc__ or "").partition("Args:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^    (\w+): (.*(?:\n     .*)*)", entries, flags=re.MULTILINE)
    return {name: " ".join(text.split()).translate(_PLAIN) for name, text in found}


def _split(text: str) -> list[str]:
    """Return the items of a list; only commas separate them, because names of folders can contain spaces."""
    return [item.strip() for item in text.split(",") if item.strip()]


def _underscored(word: str) -> str:
    name, equals, value = word.partition("=")
    return f"--{name[2:].replace('-', '_')}{equals}{value}" if name.startswith("--") else word


def _describe_default(field: "dataclasses.Field[Any]") -> str:
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    if default is dataclasses.MISSING:
        return " (required, here or in the recipe)"
    if default is None or default is False or default == []:
        return ""
    return f" (default: {' '.join(map(str, default)) if isinstance(default, list) else default})"


def _alternatives(annotation: Any) -> list[Any]:
    """Return the types that a field can have besides None."""
    is_plain = isinstance(annotation, type) or get_origin(annotation) in (list, dict, Literal)
    return [annotation] if is_plain else [kind for kind in get_args(annotation) if kind is not NoneType]


def _argparse_options(annotation: Any) -> dict[str, Any]:
    """Return the arguments of `add_argument` for a field."""
    kind, *others = _alternatives(annotation)
    if kind is bool:
        return {"nargs": "?", "const": True, "metavar": "BOOL|PATH" if str in others else "BOOL"}
    if get_origin(kind) is list:
        return {
            "action": _Once if get_args(kind)[0] is str else "store",
            "nargs": "+",
            "metavar": _alternatives(get_args(kind)[0])[0].__name__.upper(),
        }
    if get_origin(kind) is Literal:
        return {"metavar": f"{{{','.join(get_args(kind))}}}"}
    return {"metavar": "JSON" if get_origin(kind) is dict else kind.__name__.upper()}


def convert(annotation: Any, value: Any) -> Any:
    """Convert a value, as text or from YAML, to the type of a field if possible.

    Examples:
        >>> convert(dict, '{"merging": "mean"}'), convert(float, "1e-3"), convert(int, "many")
        ({'merging': 'mean'}, 0.001, 'many')
    """
    kind = _alternatives(annotation)[0]
    if get_origin(kind) is list:
        items = _split(value) if isinstance(value, str) else value if isinstance(value, list) else [value]
        return [convert(get_args(kind)[0], item) for item in items]
    if get_origin(kind) is Literal and value is False and "no" in get_args(kind):
        return "no"  # which YAML reads as a boolean
    if kind is str and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    converter = _CONVERTERS.get(get_origin(kind) or kind)
    try:
        return converter(value) if converter and isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value

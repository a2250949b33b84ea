"""Lists on the command line: values separated by commas, spaces or both."""

import os
import re
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

# Any word: what can stand before a path, which is -o, --output=, NAME= and @, and the path.
_WORD = re.compile(r"((?:-[a-z]|--[\w-]+=)?(?:[^-@~=/\\][^@~=/\\]*=)?@?)(.*)", re.DOTALL)

_USER = re.compile(r"~[\w.-]+(?:[/\\]|$)")


def expand_home(word: str) -> str:
    """Return a word of the command line with the home folder for a `~` or `~user` that its path begins with.

    The shell does this only at the beginning of a word, and programs that start this one without a shell do not.

    Raises:
        ValueError: If there is no such user, and no file or folder of this name.

    Examples:
        >>> expand_home("--fused=mine=~/fused") == "--fused=mine=" + os.path.expanduser("~/fused")
        True
    """
    before, path = _WORD.fullmatch(word).groups()  # type: ignore[union-attr]
    if not path.startswith("~") or os.path.lexists(path) or os.path.lexists(word):
        return word
    expanded = os.path.expanduser(path)
    if expanded == path and _USER.match(path):  # not a text, such as "~10 % less loss"
        raise ValueError(
            f"{path} begins with the home folder of a user who does not exist: write ./{path} for this name"
        )
    return before + expanded


def find_spelling(word: str) -> str:
    """Return a word with the Unicode form of its path in which a file exists, if the given one names none.

    Examples:
        >>> find_spelling("--fused=mine=missing")
        '--fused=mine=missing'
    """
    before, path = _WORD.fullmatch(word).groups()  # type: ignore[union-attr]
    if path.isascii() or os.path.lexists(path):
        return word
    from gffusion.data.file_names import list_spellings  # saves start-up time

    return before + next(filter(os.path.lexists, list_spellings(path)), path)


def check_empty(words: Sequence[str], parameters: Iterable[Any]) -> None:
    """Raise ValueError if a word of a command is empty."""
    if "" in words:
        option = words[words.index("") - 1]
        is_flag = any(option in parameter.opts and getattr(parameter, "is_flag", False) for parameter in parameters)
        given = f"the value of {option}" if option.startswith("--") and not is_flag else "an argument"
        raise ValueError(f"{given} is empty: a variable of the shell may not be set; leave out options without a value")


def read_paths(words: Sequence[str], parameters: Iterable[Any]) -> list[str]:
    """Return the words of a command with paths as in [`expand_home`] and [`find_spelling`], except for values with the metavar MESSAGE."""
    texts = {name for parameter in parameters if parameter.metavar == "MESSAGE" for name in parameter.opts}
    paths = list(words)
    for index, word in enumerate(words):
        if word.partition("=")[0] in texts or (index and words[index - 1] in texts):
            continue
        if re.fullmatch(r"-|-[a-z]-|--[\w-]+=-", word):
            raise ValueError(
                f"{word}: images are read from files and written to files, not from standard input or to standard output; "
                "give a file or folder, @- for a list of names from standard input, or ./- for this name"
            )
        if re.match(r"[a-z][a-z0-9]+://", _WORD.fullmatch(word)[2], re.IGNORECASE):  # type: ignore[index]
            raise ValueError(
                f"{word}: addresses are not read: download the file, and give its path. Models of the Hub have ids, such as "
                "organization/name; streams of network cameras are read in Python (docs/guides/live.md)"
            )
        paths[index] = find_spelling(expand_home(word))
    return paths


def split_list(text: str | None) -> list[str] | None:
    """Return the values of a list option, or `None` if the option was not given.

    Values are separated by commas or, in a text without commas, by spaces. With commas, values can contain spaces.

    Examples:
        >>> split_list("EN SCD"), split_list("EN, SCD,"), split_list("traffic light, person")
        (['EN', 'SCD'], ['EN', 'SCD'], ['traffic light', 'person'])
    """
    if text is None:
        return None
    return [value.strip() for value in text.split("," if "," in text else None) if value.strip()]


def split_named(option: str, text: str) -> tuple[str, Path]:
    """Return name and folder of an option `NAME=DIR`.

    Examples:
        >>> split_named("--fused", "SeAFusion=results/seafusion")[0]
        'SeAFusion'
    """
    name, sign, folder = text.partition("=")
    if not (name and sign and folder):
        raise ValueError(f"{option} takes NAME=DIR, such as SeAFusion=results/seafusion, got {text!r}")
    return name, Path(folder)


def collect_fused(texts: Sequence[str] | None) -> dict[str, Path]:
    """Return the folders of `--fused` by the names of their methods."""
    folders = [split_named("--fused", text) for text in texts or []]
    check_once("--fused", [name for name, _ in folders])
    return dict(folders)


def collect_labels(texts: Sequence[str], methods: Sequence[str]) -> dict[str, Path]:
    """Return the folders of `--predicted-labels` by the names of their methods; the name of a single method can be left out."""
    for text in texts:
        if "=" not in text and len(methods) != 1:
            raise ValueError(
                f"--predicted-labels {text}: give the name of one of {len(methods)} methods, as in NAME={text}"
            )
    folders = [split_named("--predicted-labels", text) if "=" in text else (methods[0], Path(text)) for text in texts]
    check_once("--predicted-labels", [name for name, _ in folders])
    return dict(folders)


def collect_models(texts: Sequence[str]) -> dict[str, str]:
    """Return the models of an option `[NAME=]MODEL` by the names of their methods; folders can have `=` in their names.

    Raises:
        ValueError: If a name or a model is empty, or two have the same name.

    Examples:
        >>> collect_models(["gffusion-tiny", "seed1=runs/1/best"])
        {'gffusion-tiny': 'gffusion-tiny', 'seed1': 'runs/1/best'}
    """
    if not texts:
        return {}
    from gffusion.evaluation.inputs import check_unique, name_model  # imports Pillow

    named = []
    for text in texts:
        name, sign, model = text.partition("=")
        if not sign or os.path.lexists(text):
            name, model = name_model(text), text
        if not (name and model):
            raise ValueError(f"--model takes NAME=MODEL, such as seed1=runs/1/best, or a model alone, got {text!r}")
        named.append((name, model))
    check_unique([name for name, _ in named])
    return dict(named)


def check_once(option: str, names: Sequence[Any]) -> None:
    """Raise ValueError if values of an option, such as NAME=DIR, have the same name.

    Examples:
        >>> check_once("--fused", ["mine", "mine"])
        Traceback (most recent call last):
            ...
        ValueError: --fused names 'mine' twice: give each name once
    """
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{option} names {name!r} twice: give each name once")


def parse_label_map(text: str | None) -> dict[int, int]:
    """Return the new values of `--label-map` by the old ones.

    Examples:
        >>> parse_label_map("4=1,9=255")
        {4: 1, 9: 255}
    """
    parts = [part.split("=") for part in split_list(text) or []]
    if not all(len(part) == 2 and all(number.strip().isdecimal() for number in part) for part in parts):
        raise ValueError(f"--label-map takes LABELMAP=MODEL,... with whole numbers, such as 4=1,9=255, got {text!r}")
    numbers = [(int(old), int(new)) for old, new in parts]
    check_once("--label-map", [old for old, _ in numbers])
    return dict(numbers)


def parse_zoom(text: str | None) -> tuple[int, int, int, int] | None:
    """Return left, top, right and bottom of `--zoom`.

    Examples:
        >>> parse_zoom("200,120,160,100")
        (200, 120, 360, 220)
    """
    if text is None:
        return None
    numbers = [int(part) if part.strip().isdecimal() else -1 for part in text.split(",")]
    if len(numbers) != 4 or min(numbers) < 0 or 0 in numbers[2:]:
        raise ValueError(f"--zoom takes LEFT,TOP,WIDTH,HEIGHT in pixels, such as 200,120,160,120, got {text!r}")
    left, top, width, height = numbers
    return left, top, left + width, top + height


def check_lists(words: Sequence[str], parameters: Iterable[Any]) -> None:
    """Raise ValueError if a list option is given several times, of which typer would take the last one alone."""
    lists = {name for parameter in parameters if str(parameter.metavar).endswith(",...") for name in parameter.opts}
    given = [word.partition("=")[0] for word in words]
    for name in given:
        if name in lists and given.count(name) > 1:
            raise ValueError(
                f"{name} is given {given.count(name)} times: give all its values after one {name}, separated by commas"
            )


def join_list_words(words: Sequence[str], parameters: Sequence[Any]) -> list[str]:
    """Join the words of list options for typer, whose options take one value: `--metrics EN SCD` becomes `--metrics EN,SCD`.

    An option takes a list if its metavar ends in `,...`; the list ends at the next option. Options that can be given
    several times are repeated before each word. `--baselines` without a value becomes `--baselines=all`. Commands with
    positional arguments are returned unchanged, because positional arguments and values of a list look the same. The parameters are those of the command in typer.
    """
    if any(parameter.param_type_name == "argument" for parameter in parameters):
        return list(words)
    repeated = {name for parameter in parameters if parameter.multiple for name in parameter.opts}
    lists = {name for parameter in parameters if str(parameter.metavar).endswith(",...") for name in parameter.opts}
    joined: list[str] = []
    option, has_value = "", False
    for word, following in zip_longest(words, words[1:], fillvalue="-"):
        if word == "--baselines" and following.startswith("-"):
            joined.append("--baselines=all")
        elif word.startswith("-"):
            option, equals, _ = word.partition("=")
            has_value = bool(equals)
            joined.append(word)
        elif has_value and option in lists:
            joined[-1] += f",{word}"
        elif has_value and option in repeated:
            joined += [option, word]
        else:
            joined.append(word)
            has_value = True
    return joined

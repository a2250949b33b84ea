"""Parse YAML of strangers in a time that grows with its length, as PyYAML's own loader does not."""

import os
import re
from typing import Any

import yaml

from .regular_files import read_regular

MAX_CARD_BYTES = 1 << 22
_MAX_CHARACTERS, _MAX_NODES, _MAX_DIGITS = 1 << 20, 30_000, 1000
_FRONT_MATTER = re.compile(r"\s*---(?:\r\n|\r|\n)(.*?)(?:\r\n|\r|\n)---[ \t]*(?:[\r\n]|$)", re.DOTALL)


class _Loader(yaml.SafeLoader):
    """Safe loader with a limit on nodes, that leaves numbers to base 60 (`1:30:00`) text, as YAML 1.2 does."""

    nodes = 0

    def compose_node(self, *arguments: Any) -> Any:
        self.nodes += 1
        if self.nodes > _MAX_NODES:
            raise ValueError(f"it has more than {_MAX_NODES:,} keys and values")
        return super().compose_node(*arguments)


def _parse_number(loader: _Loader, node: yaml.ScalarNode) -> Any:
    text = loader.construct_scalar(node)
    if ":" in text:
        return text
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"a number has {len(text):,} characters, at most {_MAX_DIGITS:,} are allowed")
    is_integer = node.tag == "tag:yaml.org,2002:int"
    return loader.construct_yaml_int(node) if is_integer else loader.construct_yaml_float(node)


for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _parse_number)


def load_yaml(text: str) -> Any:
    """Return the values of a YAML document.

    Raises:
        ValueError: If it is none, or has values that cannot be read.

    Examples:
        >>> load_yaml("{merging: mean, size: 0x10, time: 1:30:00}")
        {'merging': 'mean', 'size': 16, 'time': '1:30:00'}
    """
    if len(text) > _MAX_CHARACTERS:
        raise ValueError(f"it has {len(text):,} characters, at most {_MAX_CHARACTERS:,} are allowed")
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from error


def read_front_matter(card: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the metadata of a model card, between the lines `---`; an empty mapping if there are none.

    Raises:
        OSError: If the file cannot be read, or has more than 4 MiB.
        ValueError: If the metadata are no YAML mapping.
    """
    found = _FRONT_MATTER.match(read_regular(card, MAX_CARD_BYTES).decode("utf-8-sig"))
    metadata = load_yaml(found[1]) if found else None
    if metadata is not None and not isinstance(metadata, dict):
        raise ValueError("the metadata must be a mapping such as `license: mit`")
    return metadata or {}

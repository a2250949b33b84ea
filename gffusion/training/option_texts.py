"""Read the texts that describe options in checkpoints, so that those of earlier versions can be compared."""

import ast
import inspect
from typing import Any

from gffusion.cameras import Rig
from gffusion.data import RawFrame, ReadOptions, transforms


def parse_options(text: Any) -> Any:
    """Return a value that is equal for texts of the same options, such as `"ReadOptions(crop=True)"`; others are returned unchanged.

    Options that a text lacks have the default in the signature of their class.

    Examples:
        >>> parse_options("RandomFlip(horizontal=0.5)") == parse_options("RandomFlip(horizontal=0.5, vertical=0.0)")
        True
        >>> parse_options("RandomFlip(horizontal=0.5)") == parse_options("RandomFlip(horizontal=0.5, vertical=0.5)")
        False
    """
    try:
        node = ast.parse(text, mode="eval").body
        calls = node.elts if isinstance(node, ast.Tuple) else [node]
        return [_read(call) for call in calls] if all(isinstance(call, ast.Call) for call in calls) else text
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):  # no text, or see `ast.literal_eval`
        return text


def _read(node: ast.expr) -> Any:
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func)
        given = {str(keyword.arg): _read(keyword.value) for keyword in node.keywords}
        return name, [_read(value) for value in node.args], _find_defaults(name) | given
    return ast.literal_eval(node)


def _find_defaults(name: str) -> dict[str, Any]:
    """Return the defaults of the arguments of a class, none for classes of other packages."""
    known = {item.__name__: item for item in (ReadOptions, Rig, RawFrame)}
    found = known.get(name) or getattr(transforms, name, None)
    if not isinstance(found, type):
        return {}
    parameters = inspect.signature(found).parameters.values()
    return {item.name: item.default for item in parameters if item.default is not item.empty}

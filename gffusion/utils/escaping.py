"""Names of any content, such as those of files, as text in tables and cards: one line, no formulas, no markup."""

import os
import re
import shlex
import subprocess

# Characters that end lines, move the cursor, or change the direction of the text that follows.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
# What would start a cell, HTML, a link, code, emphasis, a strikethrough, a formula or an entity. `_` inside a word is only itself.
_MARKDOWN = re.compile(
    r"[\\|<\[`*~$]|(?<!\w)_+|_+(?!\w)|&(?=#?\w+;)"
    r"|(?=://)|(?<=(?<![^\W_])www)(?=\.)",  # addresses, of which GitHub makes links
    re.IGNORECASE,
)
_ENTITIES = {"|": "&#124;", "<": "&lt;"}
_LATEX = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%$#_{}"}
    | {sign: f"{{{sign}}}" for sign in "[*"}  # after the end of a row, they would be its arguments
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
)


def first_line(error: BaseException) -> str:
    r"""Return the first line of an error's message without its period, or the error's class if it has no message.

    Examples:
        >>> first_line(OSError("The driver is too old.\nStack trace: ..."))
        'The driver is too old'
        >>> first_line(AssertionError())
        'AssertionError'
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def to_line(text: str) -> str:
    r"""Return a text as one line that UTF-8 can hold: bytes of file names that are no UTF-8 become escapes.

    Examples:
        >>> to_line("a\nb\udcff")
        'a b\\udcff'
    """
    return _CONTROLS.sub(" ", text.encode("utf-8", "backslashreplace").decode())


def escape_controls(text: str) -> str:
    r"""Return a text for terminals: line breaks, other controls and bytes of file names that are no UTF-8 become escapes.

    Examples:
        >>> print(escape_controls("a\nb\u202ec"))
        a\nb\u202ec
    """
    return _CONTROLS.sub(lambda match: ascii(match[0])[1:-1], text.encode("utf-8", "backslashreplace").decode())


def escape_json(text: str) -> str:
    r"""Return the text of a JSON document, with its line breaks, for terminals.

    Examples:
        >>> print(escape_json('["\x9b"]'))
        ["\u009b"]
    """
    return "\n".join(
        _CONTROLS.sub(lambda match: "".join(f"\\u{ord(sign):04x}" for sign in match[0]), line)
        for line in text.split("\n")
    )


def quote_word(text: str) -> str:
    """Return a text as one word for the shell of this system.

    Examples:
        >>> quote_word("model")
        'model'
    """
    return subprocess.list2cmdline([text]) if os.name == "nt" else shlex.quote(text)


def escape_markdown(text: str) -> str:
    r"""Return a text for Markdown, also in tables.

    Examples:
        >>> print(escape_markdown("a|b <img> [x](y) https://z"))
        a&#124;b &lt;img> \[x](y) https\://z
        >>> print(escape_markdown("my_model _ours_ x*y"))
        my_model \_ours\_ x\*y
    """
    return _MARKDOWN.sub(lambda match: _ENTITIES.get(match[0]) or "\\" + "\\".join(match[0]), to_line(text))


def escape_latex(text: str) -> str:
    r"""Return a text for LaTeX, also in tables.

    Examples:
        >>> print(escape_latex(r"\input{x} 100%"))
        \textbackslash{}input\{x\} 100\%
    """
    return to_line(text).translate(_LATEX)


def escape_csv(text: str) -> str:
    """Return a text that spreadsheets do not take for a formula.

    Examples:
        >>> escape_csv("=1+2"), escape_csv("night")
        ("'=1+2", 'night')
    """
    line = to_line(text)
    return f"'{line}" if line.lstrip().startswith(("=", "+", "-", "@")) else line


def quote_code(text: str) -> str:
    """Return a text as code in a line of Markdown.

    Examples:
        >>> quote_code("seed"), quote_code("a`b")
        ('`seed`', '`` a`b ``')
    """
    line = to_line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    return f"`{line}`" if len(fence) == 1 else f"{fence} {line} {fence}"

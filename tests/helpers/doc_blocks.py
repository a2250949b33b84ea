"""The code blocks of the documentation, and how each of them is run.

A block is run unless a comment `<!-- not run: REASON -->` stands above it. All blocks of a page run in one folder and one
namespace, in their order. Commands of `gffusion` run in this process, also where a launcher starts them; the commands of
blocks that are not run are parsed. Slow settings are replaced by those of `SMALLER`.
"""

import contextlib
import doctest
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from gffusion.cli import app, main
from gffusion.training.recipe import Recipe

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "projects/gffusion_tiny/README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LANGUAGES = {"bash", "python"}
OTHER_LANGUAGES = {"text", "math", "yaml", "json", "bibtex", ""}
BLOCK = re.compile(
    r"(?:^ *<!--(?P<comment>[^\n]*?)-->\n)?^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^ *```$", re.M | re.S
)
SMALLER = {
    "num_train_epochs=20, head_start_epoch=5": "num_train_epochs=1, head_start_epoch=0",
    'create_model("gffusion-tiny"), arguments': 'create_model("gffusion-funet"), arguments',
    "RandomCrop(256)": "RandomCrop(64)",
    "export gffusion-tiny": "export gffusion-funet",
    "512x640,uint16": "96x128,uint16",
}
FAST_TRAINING = ["--num_train_epochs", "1", "--head_start_epoch", "0", "--crop_size", "64", "--num_eval_images", "1"]
LAUNCHER = re.compile(r"^(?:accelerate launch|torchrun)\b.*? -m (?=gffusion )")


@dataclass(frozen=True)
class CodeBlock:
    """A code block of a page.

    Attributes:
        page: The page.
        line: Line of its first code, counted from 1.
        language: Language of its fence.
        text: The code.
        reason: Why it is not run; empty if it is run.
    """

    page: Path
    line: int
    language: str
    text: str
    reason: str

    @property
    def is_session(self) -> bool:
        """Whether it is Python with prompts."""
        return ">>> " in self.text


def read_blocks(page: Path) -> list[CodeBlock]:
    """Return the code blocks of a page."""
    content = page.read_text(encoding="utf-8")
    blocks = []
    for match in BLOCK.finditer(content):
        comment = (match["comment"] or "").strip()
        reason = comment.removeprefix("not run:").strip() if comment.startswith("not run:") else ""
        if comment.startswith(".ci/run executes"):
            reason = comment
        text = re.sub(f"^{match['indent']}", "", match["text"], flags=re.MULTILINE)
        line = content.count("\n", 0, match.start("text")) + 1
        blocks.append(CodeBlock(page, line, match["language"], text, reason))
    return blocks


def commands(block: CodeBlock) -> Iterator[str]:
    """Yield the commands of a block, without comments."""
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield line.partition("  #")[0].partition("# ")[0].strip()


def find_inline_commands() -> list[str]:
    """Return the commands of gffusion with options in the sentences of pages and model cards."""
    cards = sorted((ROOT / "model_cards").glob("*.md"))
    texts = (page.read_text(encoding="utf-8") for page in [*PAGES, *cards, ROOT / "CONTRIBUTING.md"])
    return sorted({command for text in texts for command in re.findall(r"`(gffusion [a-z]+ [^`\n]*--[^`\n]+)`", text)})


def list_options(name: str) -> set[str]:
    """Return the options of a command of gffusion."""
    if name == "train":
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
            Recipe.parse(["--help"], "gffusion train")
        return set(re.findall(r"--\w+", output.getvalue()))
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    return {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}


def parse_command(command: str) -> None:
    """Check the names and options of a command of gffusion without running it."""
    _, name, *words = shlex.split(command.partition(" > ")[0])
    if name == "train":
        Recipe.parse(words)
    else:
        typer.main.get_command(app).commands[name].make_context(name, words)  # type: ignore[attr-defined]


def run_command(command: str) -> None:
    """Run a command of a block, in this process if it is one of gffusion.

    Raises:
        AssertionError: If it fails.
    """
    command = LAUNCHER.sub("", command)
    if command.startswith(("ls ", "printf ", "sed ")):
        subprocess.run(["bash", "-c", command], check=True)
        return
    command, _, target = command.partition(" > ")
    words = shlex.split(command)
    if words[0] == "python":
        script = [str(ROOT / word) if (ROOT / word).is_file() else word for word in words[1:]]
        done = subprocess.run([sys.executable, *script], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        return
    assert words[0] == "gffusion", (
        f"{command}: not known how to run it; run it, or mark the block <!-- not run: REASON -->"
    )
    if words[1] == "train":
        words += FAST_TRAINING
    output, errors = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            main(words[1:])
    except SystemExit as stop:
        assert not stop.code, f"{command}\n{errors.getvalue()}"
    if target:
        Path(target).write_text(output.getvalue(), encoding="utf-8")


def run_block(block: CodeBlock, namespace: dict[str, Any]) -> None:
    """Run a block in the present folder; names of Python are kept in `namespace`."""
    text = block.text
    for slow, small in SMALLER.items():
        text = text.replace(slow, small)
    block = CodeBlock(block.page, block.line, block.language, text, block.reason)
    if block.language == "bash":
        for command in commands(block):
            run_command(command)
    elif block.is_session:
        name = f"{block.page.relative_to(ROOT)}:{block.line}"
        session = doctest.DocTestParser().get_doctest(text, namespace, name, str(block.page), block.line)
        report = io.StringIO()
        failed = (
            doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(session, out=report.write, clear_globs=False).failed
        )
        namespace.update(session.globs)
        assert not failed, report.getvalue()
    else:
        filled = "\n" * (block.line - 1) + text  # so that tracebacks have the lines of the page
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(filled, str(block.page), "exec"), namespace)

"""Make notebooks of the scripts in examples/notebooks: `python tools/notebooks.py`; with `--check`, only compare them.

`python tools/notebooks.py --figures [NAME ...]` also runs the scripts, and saves their figures for the site. The scripts are the source
(jupytext, py:percent); notebooks have no outputs.
"""

import argparse
import contextlib
import runpy
import tempfile
from pathlib import Path

import jupytext
import nbformat
from PIL import Image

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "examples" / "notebooks").glob("*.py"))
FIGURES = ROOT / "docs" / "notebooks"
SHOW = "plt.show()"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def make_notebook(script: Path) -> str:
    """Return the notebook of a script, as JSON without outputs."""
    notebook = jupytext.reads(script.read_text(encoding="utf-8"), fmt="py:percent")
    notebook.metadata = nbformat.NotebookNode(kernelspec=KERNEL, jupytext={"formats": "ipynb,py:percent"})
    notebook.nbformat_minor = 4  # without random ids of cells
    for cell in notebook.cells:
        cell.pop("id", None)
        cell.metadata = nbformat.NotebookNode()
    return nbformat.writes(notebook) + "\n"


def make_page(script: Path) -> str:
    """Return the page of a script, with the figures that `--figures` saved."""
    parts, figures = [], 0
    for cell in jupytext.reads(script.read_text(encoding="utf-8"), fmt="py:percent").cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for _ in range(cell.source.count(SHOW)):
            figures += 1
            parts.append(f"![Figure {figures}]({script.stem}-{figures}.png)")
    note = f"*[Script](../../examples/notebooks/{script.name}) and [notebook](../../examples/notebooks/{script.stem}.ipynb) of this page.*"
    return "\n\n".join([parts[0], note, *parts[1:]]) + "\n"


def save_figures(script: Path) -> None:
    """Run a script in a temporary folder, and save the figures that it shows."""
    import matplotlib.pyplot as plt

    paths = iter(FIGURES / f"{script.stem}-{number}.png" for number in range(1, 100))

    def save() -> None:
        path = next(paths)
        plt.savefig(path, dpi=72)
        plt.close("all")
        Image.open(path).convert("RGB").quantize(128).save(path, optimize=True)

    plt.switch_backend("agg")
    plt.show = save  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        runpy.run_path(str(script))


def main(arguments: list[str] | None = None) -> int:
    """Write or compare the notebooks, and return the exit code: 1 if the comparison finds another one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with code 1 if a notebook is outdated"
    )
    parser.add_argument(
        "--figures", nargs="*", metavar="NAME", help="also save the figures of these scripts (default: all)"
    )
    options = parser.parse_args(arguments)
    outdated = False
    for script in SCRIPTS:
        path, content = script.with_suffix(".ipynb"), make_notebook(script)
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            outdated = True
            if not options.check:
                path.write_text(content, encoding="utf-8")
        if options.figures is not None and (not options.figures or script.stem in options.figures):
            save_figures(script)
    return int(options.check and outdated)


if __name__ == "__main__":
    raise SystemExit(main())

"""What `gffusion fuse` prints: the pairs of a dry run, the report as text or JSON, and the result itself."""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from .errors import exit_with_failures
from .printing import print_json, print_line
from .sharing import Outcome

if TYPE_CHECKING:
    from gffusion.inference.file_jobs import FusionJob


def print_plans(plans: "Sequence[FusionJob]", overwrite: bool, as_json: bool) -> None:
    """Print the files of each pair, and whether its outputs exist and would be kept."""
    rows = [(plan, not overwrite and all(path.is_file() for path in plan.outputs)) for plan in plans]
    if as_json:
        print_json([_describe_plan(plan) | {"exists": exists} for plan, exists in rows])
        return
    for plan, exists in rows:
        infrared = "" if plan.pair.infrared == plan.pair.visible else f" + {plan.pair.infrared}"
        outputs = ", ".join(map(str, plan.outputs))
        line = f"{plan.pair.visible}{infrared} -> {outputs}{' (exists, would be skipped)' if exists else ''}"
        print_line(line)  # one line for each pair
    kept = sum(exists for _, exists in rows)
    print_line(f"{len(rows)} pair{'s' * (len(rows) != 1)}, of which {kept} would be skipped; nothing was written")


def _describe_plan(plan: "FusionJob") -> dict[str, str]:
    files = {"visible": plan.pair.visible, "infrared": plan.pair.infrared, "fused": plan.fused}
    files |= {kind: path for kind in ("labels", "overlay", "thermal") if (path := getattr(plan, kind)) is not None}
    return {kind: str(path) for kind, path in files.items()}


def report_outcome(outcome: Outcome, plans: "Sequence[FusionJob]", output: Path, as_json: bool) -> None:
    """Print notes and what was done, and raise or exit if pairs failed."""
    from gffusion.data.notes import summarize_notes

    done, skipped, failures, notes, seconds = outcome
    summary = list(summarize_notes(notes))
    if as_json:
        facts: dict[str, Any] = {"fused": done, "skipped": skipped, "failed": _to_dict(failures), "seconds": seconds}
        print_json(facts | {"notes": dict(summary), "output": str(output)})
        if failures:
            raise typer.Exit(1 if done + skipped else 2)
        return
    if skipped == len(plans):
        what = f"{plans[0].fused} exists" if len(plans) == 1 else f"all {len(plans)} outputs exist"
        print_line(f"nothing to do: {what} (model and options are not compared); --overwrite replaces them")
        return
    for note, count in summary:
        print_line(f"note: {note}{f' ({count} pairs)' if len(plans) - skipped > 1 else ''}", err=True)
    if failures and len(plans) == 1:
        raise OSError(failures[0][1])
    print_line(
        f"fused {done} pair{'s' * (done != 1)} in {seconds:.1f} s{_rate(done, seconds)}"
        f"{f', skipped {skipped} that existed' if skipped else ''} -> {output}"
    )
    if failures:
        exit_with_failures("failed", failures, is_partial=done + skipped > 0)


def _to_dict(failures: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the reasons by name; pairs whose outputs differ in their suffix only have one name, and are numbered."""
    reasons: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for name, reason in failures:
        counts[name] += 1
        reasons[name if counts[name] == 1 else f"{name} ({counts[name]})"] = reason
    return reasons


def _rate(done: int, seconds: float) -> str:
    if not done:
        return ""
    return f" ({done / seconds:.1f} per second)" if done >= seconds else f" ({seconds / done:.1f} s per pair)"


def show_result(path: Path) -> None:
    """Open a file in the viewer of the desktop; without a display, draw a small image in the terminal or print its path."""
    if _has_display():
        typer.launch(str(path))
        return
    if sys.stdout.isatty():
        from gffusion.data import IMAGE_SUFFIXES, read_image
        from gffusion.visualization.terminal import draw_blocks

        if path.suffix.lower() in IMAGE_SUFFIXES:
            columns, rows = shutil.get_terminal_size()
            typer.echo(draw_blocks(read_image(path), columns, rows - 2))
            return
    print_line(f"no display: open {path} on a machine with one")


def _has_display() -> bool:
    if os.environ.get("SSH_CONNECTION"):
        return False
    if sys.platform.startswith("linux"):
        has_server = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
        return has_server and shutil.which("xdg-open") is not None
    return True

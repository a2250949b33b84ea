"""What `gffusion fuse` prints: the pairs of a dry run, the report as text or JSON, and the result itself."""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from gffusion.utils.notes import NOT_COMPARED, format_count, group_notes, name_first, summarize_notes

from .choices import IMAGE_SUFFIXES
from .distributed import Outcome
from .errors import InterruptedRun, exit_with_failures
from .fuse_settings import FuseSettings
from .messages import list_printed, one_line
from .printing import name_files, print_failure, print_json, print_json_of_failure, print_line

if TYPE_CHECKING:
    from gffusion.data import PairMatch
    from gffusion.inference.file_jobs import FusionJob


def print_jobs(jobs: "Sequence[FusionJob]", match: "PairMatch", settings: FuseSettings) -> None:
    """Print the files of each pair, and whether its outputs exist and would be kept."""
    rows = [(job, not job.needs_fusing) for job in jobs]
    notes = list_printed("note", "warning")
    if settings.as_json:
        pairs = [_describe_job(job) | {"exists": exists} for job, exists in rows]
        print_json({"pairs": pairs, "unmatched": _list_unmatched(match), "notes": dict(Counter(notes))})
    else:
        for job, exists in rows:
            infrared = "" if job.pair.infrared == job.pair.visible else f" + {job.pair.infrared}"
            outputs = ", ".join(map(str, job.outputs))
            print_line(f"{job.pair.visible}{infrared} -> {outputs}{' (exists, would be skipped)' if exists else ''}")
        kept = sum(exists for _, exists in rows)
        print_line(f"{format_count(len(rows), 'pair')}, of which {kept} would be skipped; nothing was written")
    check_strict(settings.strict, notes, match)


def _describe_job(job: "FusionJob") -> dict[str, str]:
    files = {"visible": job.pair.visible, "infrared": job.pair.infrared}
    files |= {kind: getattr(job, kind) for kind in ("fused", "labels", "overlay", "thermal")}
    return {kind: str(path) for kind, path in files.items() if path is not None}


def _list_unmatched(match: "PairMatch") -> dict[str, list[str]]:
    return {"visible": name_files(match.visible_only), "infrared": name_files(match.infrared_only)}


def check_strict(strict: bool, notes: Iterable[str], match: "PairMatch | None" = None) -> None:
    """With `--strict`, exit with code 1 if files have no partner, or notes are about other things than outputs that are kept."""
    counts = {
        "files without a partner": 0 if match is None else len(match.visible_only) + len(match.infrared_only),
        "notes or warnings": sum(NOT_COMPARED not in note for note in notes),
    }
    if strict and any(counts.values()):
        found = ", ".join(f"{what} ({count})" for what, count in counts.items() if count)
        typer.echo(f"gffusion: exit code 1 because of --strict: {found}", err=True)
        raise typer.Exit(1)


def describe_outcome(outcome: Outcome, match: "PairMatch", output: Path) -> dict[str, Any]:
    """Return the report for other programs."""
    summary = _summarize(outcome)
    printed = [*list_printed("measured", "note"), *outcome.warnings]
    return {
        "fused": outcome.done,
        "skipped": outcome.skipped,
        "failed": len(outcome.failures),
        "not_tried": outcome.not_tried,
        "errors": _to_dict(outcome.failures),
        "unmatched": _list_unmatched(match),
        "notes": dict(summarize_notes(printed)) | {note: count for note, count, _ in summary},
        "noted": {note: names for note, _, names in summary if names},
        "seconds": outcome.seconds,
        "output": str(output),
    }


def _summarize(outcome: Outcome) -> list[tuple[str, int, list[str]]]:
    """Return the notes about pairs, also those that only all pairs together show, and that outputs are kept.

    Each is followed by the number of pairs and, except for outputs that are kept, by their names.
    """
    from gffusion.cameras.narrow_ranges import note_narrow  # saves start-up time

    groups = group_notes([*outcome.notes, *note_narrow(outcome.range_widths)])
    summary = [(one_line(note), len(names), names) for note, names in groups]
    if outcome.skipped:
        summary.append((f"kept the existing outputs {NOT_COMPARED}: --overwrite replaces them", outcome.skipped, []))
    return summary


def report_outcome(outcome: Outcome, jobs: "Sequence[FusionJob]", match: "PairMatch", settings: FuseSettings) -> None:
    """Print notes and what was done, and raise or exit if it was interrupted, pairs failed, or with `strict` if something was odd."""
    if outcome.is_interrupted:
        advice = "" if settings.overwrite else ", and the same command fuses what is missing"
        report = describe_outcome(outcome, match, settings.output)
        raise InterruptedRun(report, f"files written so far are complete{advice}")
    summary = _summarize(outcome)
    if settings.as_json:
        print_json(describe_outcome(outcome, match, settings.output))
        if outcome.failures:
            raise typer.Exit(1 if outcome.done + outcome.skipped else 2)
    elif outcome.skipped == len(jobs):
        what = f"{jobs[0].fused} exists" if len(jobs) == 1 else f"all {len(jobs)} outputs exist"
        print_line(f"nothing to do: {what} (model and options are not compared); --overwrite replaces them")
    else:
        _print_outcome(outcome, jobs, summary, settings)
    notes = [*list_printed("note"), *outcome.warnings, *(note for note, *_ in summary)]
    check_strict(settings.strict, notes, match)


def _print_outcome(
    outcome: Outcome, jobs: "Sequence[FusionJob]", summary: Sequence[tuple[str, int, list[str]]], settings: FuseSettings
) -> None:
    """Print notes and what was done, and raise or exit if pairs failed."""
    done, skipped, failures, seconds = outcome.done, outcome.skipped, outcome.failures, outcome.seconds
    for note, count, names in summary:
        print_line(f"note: {note}{count_pairs(count, names, len(jobs) - skipped) if len(jobs) > 1 else ''}", err=True)
    if failures and len(jobs) == 1:
        raise OSError(failures[0][1])
    if done or skipped or not failures:
        print_line(
            f"fused {format_count(done, 'pair')} in {seconds:.1f} s{_rate(done, seconds)}"
            f"{f', skipped {skipped} that existed' if skipped else ''} -> {settings.output}"
        )
    if outcome.not_tried:
        advice = "" if settings.overwrite else "; the same command fuses what is missing when the cause below is gone"
        print_line(
            f"stopped, because the other pairs would fail, too: {outcome.not_tried} more not tried{advice}", err=True
        )
    if failures:
        exit_with_failures("failed", failures, is_partial=done + skipped > 0)


def report_part(outcome: Outcome, match: "PairMatch", output: Path, reason: str) -> NoReturn:
    """Print what this process did, because the counts of the others are not known, and exit with code 1."""
    counts = f"{outcome.done} fused, {outcome.skipped} skipped, {len(outcome.failures)} failed, {outcome.not_tried} not tried"
    message = f"{reason}, so only the counts of this process are known: {counts}; run the command again to fuse what is missing"
    print_failure(f"error: {message}")
    print_json_of_failure({**describe_outcome(outcome, match, output), "error": message, "exit_code": 1})
    if outcome.failures:
        exit_with_failures("failed", outcome.failures)
    raise typer.Exit(1)


def count_pairs(count: int, names: Sequence[str], fused: int) -> str:
    """Return how many pairs have a note, and the first of their names if not all that were fused have it."""
    shown = "" if count == fused else name_first(names)
    return f" ({format_count(count, 'pair')}{': ' * bool(shown)}{shown})"


def _to_dict(failures: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the reasons by name; pairs whose outputs differ in their suffix only have one name, and are numbered."""
    reasons: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for name, reason in failures:
        counts[name] += 1
        reasons[name if counts[name] == 1 else f"{name} ({counts[name]})"] = one_line(reason)
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
    if _has_colors():
        from gffusion.data import read_image
        from gffusion.visualization.terminal import draw_blocks

        if path.suffix.lower() in IMAGE_SUFFIXES:
            columns, rows = shutil.get_terminal_size()
            typer.echo(draw_blocks(read_image(path), columns, rows - 2))
            return
    print_line(f"no display: open {path} on a machine with one")


def _has_colors() -> bool:
    """Return whether standard output is a terminal that can show blocks in color, as far as that is known."""
    is_plain = os.environ.get("TERM") in ("", "dumb") or bool(os.environ.get("NO_COLOR"))
    has_blocks = bool("▀".encode(sys.stdout.encoding or "utf-8", "ignore"))
    return sys.stdout.isatty() and has_blocks and not is_plain


def _has_display() -> bool:
    if os.environ.get("SSH_CONNECTION"):
        return False
    if sys.platform.startswith("linux"):
        has_server = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
        return has_server and shutil.which("xdg-open") is not None
    return True

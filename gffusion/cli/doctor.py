"""`gffusion doctor`: examine the installation and the machine."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .errors import user_errors
from .printing import print_json

if TYPE_CHECKING:
    from gffusion.doctor.report import Report


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Print versions, devices, threads, the cache of the Hub and folders, and what to do about each problem.

    The report is for bug reports: it has no token, password or user name. Nothing is changed or downloaded.
    Exit code: 1 if something prevents fusing images, else 0.
    """
    with user_errors():
        from gffusion.doctor.report import examine  # saves start-up time of the other commands

        report = examine()
    if as_json:
        print_json(report.to_dict())
    else:
        typer.echo("\n".join(_describe(report)))
    if not report.is_usable:
        raise typer.Exit(1)


def _describe(report: "Report") -> Iterator[str]:
    yield f"{'gffusion':<16}{report.gffusion}, Python {report.python}, {report.platform}"
    for name, version in report.packages.items():
        yield f"{name:<16}{version or 'not installed'}"
    for title, facts in (("machine", report.machine), ("hub", report.hub), ("folders", report.folders)):
        yield f"\n{title}"
        for name, value in facts.items():
            yield f"  {name.replace('_', ' '):<16}{_show(value)}"
    yield "\nextras"
    from gffusion.doctor.packages import get_pip_target  # saves start-up time of the other commands

    for extra, missing in report.extras.items():
        advice = f"needs {', '.join(missing)}: pip install {get_pip_target(f'[{extra}]')}"
        yield f"  {extra:<16}{advice if missing else 'installed'}"
    if report.environment:
        yield "\nenvironment"
    for name, value in report.environment.items():
        yield f"  {name}={value}"
    yield "\nno problems found" if not report.problems else "\nproblems"
    for problem in report.problems:
        yield f"  {'ERROR' if problem.prevents else 'warning'}: {problem.what}\n    -> {problem.advice}"


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(
            f"{name.replace('_', ' ')} {_show(part)}" if name != "path" else str(part) for name, part in value.items()
        )
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "unknown" if value is None else str(value)

"""Messages of the library on the command line: options as they are typed, and warnings that name their file."""

import ast
import json
import logging
import os
import re
import select
import shlex
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import typer
from environments import make_environment
from PIL import Image
from transformers.utils.logging import warning_once

import gffusion as package
from gffusion.cameras.palettes import load_palettes
from gffusion.cli.errors import exit_with_failures, user_errors
from gffusion.cli.messages import name_options, printed_warnings, translate, use_options
from gffusion.data import read_image
from gffusion.doctor import packages
from gffusion.synthetic.samples import write_scenes
from gffusion.utils.notes import about

ROOT = Path(package.__file__).parent


def find_messages() -> Iterator[str]:
    """Yield the strings of the library that name an option in Python, and on the command line in parentheses."""
    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        parts = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if node in parts or not isinstance(node, ast.Constant | ast.JoinedStr):
                continue
            values = node.values if isinstance(node, ast.JoinedStr) else [node]
            text = "".join(str(value.value) if isinstance(value, ast.Constant) else "7" for value in values)
            if (
                "--" in text
                and "\n" not in text
                and re.search(r"(`|\w=\S+|[a-z]_[a-z]+)[;,]? (or |\()?`?--[a-z]", text)
            ):
                yield text


@pytest.mark.parametrize("message", find_messages())
def test_options_are_named_once(message: str) -> None:
    translated = translate(message)
    assert "--" in translated
    assert not re.search(r"(`[a-z_]+[^`]*`|(?<![-\w])[a-z]+_[a-z_]+|\w=\S+)[;,]? (or )?\(`?--", translated)


@pytest.mark.parametrize(
    ("message", "translated"),
    [
        ('`agc` (--agc) must be one of linear, got "x"', '--agc must be one of linear, got "x"'),
        ("pass max_pixels=12 (--max-pixels 12)", "pass --max-pixels 12"),
        ("with `infrared_luma=True`, or max_pixels=12", "with --infrared-luma, or max_pixels=12"),
        ('infrared_range="folder" is measured: pass infrared_range=[low, high]', None),
        ("leave `invert` out, or pass `invert=False`", "leave --invert out, or pass --no-invert"),
        ("`labels` and `visible_values` differ", "--labels and `visible_values` differ"),
        ("give `class_names` (--class-names), `label_map` (--label-map)", "give --class-names, --label-map"),
    ],
)
def test_translations(message: str, translated: str | None) -> None:
    names = ("infrared_range", "infrared_luma", "labels", "invert")
    options = [(name, f"--{name.replace('_', '-')}") for name in names]
    negations = {"invert": ["--no-invert"]}
    use_options(
        [SimpleNamespace(name=name, opts=[word], secondary_opts=negations.get(name, [])) for name, word in options]
    )
    try:
        expected = "--infrared-range folder is measured: pass --infrared-range LOW,HIGH"
        assert translate(message) == (translated or expected)
    finally:
        name_options({})


def test_options_of_trainings_have_underscores() -> None:
    options = {"infrared_range": "--infrared_range", "crop_size": "--crop-size", "invert": "--invert"}
    name_options(options)  # the second as it was typed
    try:
        assert translate("pass `invert=False`") == "pass --invert false"
        text = 'Set infrared_range="percentile" (--infrared-range percentile), or `crop_size`, or --no-invert.'
        assert translate(text) == "Set --infrared_range percentile, or --crop-size, or --no-invert."
    finally:
        name_options({})


def test_extras_of_a_clone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`pip install gffusion` would replace an editable installation by a released one."""
    message = 'videos need PyAV (av): pip install "gffusion[video]"'
    monkeypatch.setattr(packages, "find_clone", lambda: None)
    assert translate(message) == message
    monkeypatch.setattr(packages, "find_clone", lambda: tmp_path)
    elsewhere = f'videos need PyAV (av): pip install -e ".[video]" (in {tmp_path})'
    assert translate(message) == elsewhere
    monkeypatch.chdir(tmp_path)
    assert translate(message) == 'videos need PyAV (av): pip install -e ".[video]"'


def test_warnings_name_the_files(capsys: pytest.CaptureFixture[str]) -> None:
    with printed_warnings(), about("a.png", "b.png"):
        logging.getLogger("gffusion.models").warning("The image is flat.")
        logging.getLogger("gffusion.models").warning("a.png, b.png: two\nlines")
        warnings.warn("of Python", stacklevel=1)
    assert capsys.readouterr().err.splitlines() == [
        "warning: a.png, b.png: The image is flat.",
        "warning: a.png, b.png: two lines",
        "warning: of Python",
    ]


@pytest.mark.parametrize(
    "words",
    ["fuse a b", "align a b", "match a b", "show fused a b", "export a", "pull a", "evaluate --visible a --infrared b"],
)
def test_missing_outputs_have_an_example(gffusion: Callable, words: str) -> None:
    message = gffusion(*words.split()).err
    assert "Missing option '--output' / '-o', such as -o " in message, message


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("fuse no.png no.png -o out.png", "no.png does not exist"),
        ("fuse visible.png infrared.png -o out.png --no-option", "No such option: --no-option"),
        ("fuse visible.png infrared.png", "Missing option '--output' / '-o', such as -o fused.png"),
        ("evaluate --visible no --infrared no -o out", "no"),
        ("models nonsense", "No model matches 'nonsense'"),
        ("models nonsense --status", "--status"),
        ("benchmark --size 3", "--size must be height and width"),
        ("push no lab/net --dry-run", "no is not a folder"),
    ],
)
def test_errors_as_json(gffusion: Callable, pair: Path, command: str, message: str) -> None:
    """Stdout has one object, whatever is wrong."""
    outcome = gffusion(*command.split()[:1], "--json", *command.split()[1:])
    report = json.loads(outcome.out)
    assert (outcome.exit_code, report["exit_code"]) == (2, 2) and message in report["error"]
    assert outcome.err == f"gffusion: error: {report['error']}\n"
    assert gffusion(*command.split()).out == ""


def test_doctor_as_json_of_an_interruption(gffusion: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gffusion.doctor.report.examine", interrupt)
    outcome = gffusion("doctor", "--json")
    assert (outcome.exit_code, json.loads(outcome.out)) == (130, {"interrupted": True, "exit_code": 130})


def test_flat_infrared_image(gffusion_process: Callable, gffusion: Callable, pair: Path) -> None:
    tifffile.imwrite("flat.tif", np.arange(64 * 96, dtype=np.uint16).reshape(64, 96) // 8 + 7000)
    outcome = gffusion_process("fuse", "visible.png", "flat.tif", "-o", "fused.png", "-m", "gffusion-funet")
    assert outcome.exit_code == 0 and outcome.err == (
        "note: A 16-bit infrared image uses less than a tenth of its range and will look flat. Set "
        "--infrared-range percentile, or a range in counts.\n"
    )
    warning_once.cache_clear()  # of tests before in this process
    outcome = gffusion("fuse", "visible.png", "flat.tif", "-o", "x.png", "-m", "gffusion-funet", "--json")
    report = json.loads(outcome.out)
    ((note, count),) = report["notes"].items()
    assert (note[:8], count, report["noted"]) == ("A 16-bit", 1, {note: ["visible"]})
    outcome = gffusion("fuse", "visible.png", "flat.tif", "-o", "y.png", "--infrared-range", "9000,9900")
    assert outcome.exit_code == 2 and "infrared_range" not in outcome.err and "--infrared-range percent" in outcome.err


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried 9 GiB"),
        RuntimeError("could not create a primitive"),
        RuntimeError("can't start new thread"),
        RuntimeError("fault"),
        RuntimeError("could not create a primitive descriptor for a fault"),
    ],
)
def test_lack_of_memory_is_an_error_of_users(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    is_fault = "fault" in str(error)
    with pytest.raises(RuntimeError, match="fault" if is_fault else None) as stop, user_errors():
        raise error
    assert (stop.value is error) == is_fault
    assert capsys.readouterr().err.startswith("" if is_fault else "gffusion: error: not enough memory")


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("unspecified launch failure", "the GPU cannot be used any more, run the command again to continue"),
        *(
            (reason, "use --device cpu, or a torch build for this GPU")  # the same command would fail again
            for reason in (
                "no kernel image is available for execution on the device",
                "invalid device ordinal",
                "all CUDA-capable devices are busy or unavailable",
                "CUDA driver version is insufficient for CUDA runtime version",
                "initialization error",
                "operation not supported",
            )
        ),
    ],
)
def test_gpu_that_fails_is_an_error_of_users(reason: str, advice: str, capsys: pytest.CaptureFixture[str]) -> None:
    name_options({"device": "--device"})
    try:
        with pytest.raises(RuntimeError), user_errors():  # an exit of typer
            raise RuntimeError(f"CUDA error: {reason}\nCompile with more")
    finally:
        name_options({})
    assert capsys.readouterr().err == f"gffusion: error: CUDA error: {reason}: {advice}\n"


@pytest.mark.processes
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("words", "output", "code"),
    [
        ("models --json", ">/dev/full", 1),
        ("models", ">/dev/full", 1),
        ("match visible infrared -o pairs.csv --tolerance 1", ">/dev/full", 1),
        ("models --json", ">&-", 0),
        ("models --json", ">/dev/full 2>/dev/full", 1),
        ("match visible infrared -o pairs.csv --tolerance 1", ">/dev/full 2>/dev/full", 1),
        ("match visible infrared -o pairs.csv --tolerance 1", "2>/dev/full", 0),
        ("models missing", "2>/dev/full", 2),
        ("models --no-such-option", "2>/dev/full", 2),
        ("models missing --json", ">&- 2>/dev/full", 2),
        ("models missing", ">&- 2>&-", 2),
    ],
)
def test_standard_output_that_cannot_be_written(tmp_path: Path, words: str, output: str, code: int) -> None:
    """It is said in one line, with exit code 1 because the work was done; a closed one is as /dev/null."""
    for kind in ("visible", "infrared"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "20240101_120000.png").touch()
    command = f"{shlex.quote(sys.executable)} -m gffusion {words} {output}"
    environment = make_environment(PYTHONUNBUFFERED="")
    done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
    said = "gffusion: error: standard output cannot be written: No space left on device; files written so far are complete\n"
    assert (done.returncode, done.stderr) == (code, said if output == ">/dev/full" else "")


@pytest.mark.processes
@pytest.mark.parametrize("errors", ["separate", "together"])
@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("--help", 0),
        ("models", 0),
        ("models --json", 0),
        ("fuse visible infrared -o new --dry-run", 0),
        ("match visible infrared -o pairs.csv --tolerance 1", 0),
        ("match visible missing -o pairs.csv", 2),
    ],
)
def test_a_reader_that_ends_early(tmp_path: Path, words: str, code: int, errors: str) -> None:
    """The work goes on, quietly, and has its own exit code."""
    for kind in ("visible", "infrared"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "20240101_120000.png").write_bytes(kind.encode())
    ends = os.pipe()
    os.close(ends[0])
    done = subprocess.run(
        [sys.executable, "-m", "gffusion", *words.split()],
        cwd=tmp_path,
        env=make_environment(),
        stdout=ends[1],
        stderr=subprocess.PIPE if errors == "separate" else subprocess.STDOUT,
        text=True,
    )
    os.close(ends[1])
    assert done.returncode == code
    assert not done.stderr or (code == 2 and done.stderr.count("\n") == 1)
    assert (tmp_path / "pairs.csv").exists() == (words.startswith("match") and code == 0)


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="needs a descriptor to which writing is an invalid argument")
@pytest.mark.parametrize(("system", "code"), [("nt", 0), ("posix", 1)])
def test_a_reader_that_ends_early_on_windows(run_script: Callable, system: str, code: int) -> None:
    """There, the error is EINVAL instead of EPIPE."""
    script = f"""
import os, select
poll = select.epoll()
os.dup2(poll.fileno(), 1)
from gffusion.cli import main
os.name = {system!r}
main(["--version"])
"""
    done = run_script(script)
    assert (done.returncode, "Invalid argument" in done.stderr) == (code, bool(code))


@pytest.mark.parametrize(
    "command",
    [
        "fuse visible infrared -o out -m gffusion-funet",
        "evaluate --visible visible --infrared infrared -o out --metrics EN",
        "masks . --method threshold -o out",
        "show fused visible/{name} infrared/{name} -o out.png",
        "show labels visible/{name} infrared/{name} -o out.png",
    ],
)
def test_notes_spell_options_as_they_are_typed(gffusion: Callable, cwd: Path, command: str) -> None:
    write_scenes(cwd, count=1, height=64, width=96)
    [file] = (cwd / "infrared").iterdir()
    Image.fromarray(load_palettes()["inferno"].astype(np.uint8)[read_image(file)]).save(file)
    outcome = gffusion(*command.format(name=file.name).split())
    note = "note: infrared colors mapped back to intensity by the palette inferno; --invert if white is cold"
    assert outcome.exit_code == 0 and note in outcome.err and "invert=True" not in outcome.err


def test_reasons_that_differ_in_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    failures = [(name, f"a/{name}.tif: got {low} to 1.5") for name, low in (("a", -1), ("b", -1), ("c", -9999))]
    for given, rest in (
        (failures[:2], "the same for 1 more: b"),
        (failures, "the same, with other numbers, for 2 more: b, c"),
    ):
        with pytest.raises(typer.Exit):
            exit_with_failures("failed", given)
        assert capsys.readouterr().err.endswith(f"  a: a/a.tif: got -1 to 1.5\n    {rest}\n")

"""`gffusion fuse`: lists of files, dry runs and reports as JSON."""

import errno
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from environments import make_environment, start

from gffusion.cli.printing import print_json
from gffusion.data.io import write_with_metadata
from gffusion.inference.files import fuse_files

pytestmark = pytest.mark.usefixtures("in_scenes")

PAIR = ("visible/rendered_0000.png", "infrared/rendered_0000.png")


def test_lists_patterns_and_tables_give_the_same_files_as_folders(gffusion: Callable) -> None:
    names = [f"rendered_{number:04d}" for number in range(3)]
    for kind in ("visible", "infrared"):
        Path(f"{kind}.txt").write_text("\n".join(f"{kind}/{name}.png" for name in names))
    rows = "\n".join(f"visible/{name}.png,infrared/{name}.png,night/{name}" for name in names)
    Path("pairs.csv").write_text(f"visible,infrared,name\n{rows}\n")
    ways = {
        "folders": ("visible", "infrared"),
        "lists": ("@visible.txt", "@infrared.txt"),
        "patterns": ("visible/*.png", "infrared/*.png"),
        "table": ("pairs.csv",),
    }
    for output, inputs in ways.items():
        outcome = gffusion("fuse", *inputs, "-o", output, "--model", "gffusion-live")
        assert (outcome.exit_code, outcome.err) == (0, "")
    for name in names:
        expected = Path("folders", f"{name}.png").read_bytes()
        for other in ("lists", "patterns", "table/night"):
            assert Path(other, f"{name}.png").read_bytes() == expected


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.symlink_to("/card/gone.png"), "is a link to /card/gone.png, which does not exist"),
        (lambda path: path.symlink_to(path.name), "symbolic links"),
        (os.mkfifo, "is a pipe, not a regular file"),
    ],
    ids=["missing", "loop", "pipe"],
)
@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        (("v", "i"), ("v/{}.png", "i/{}.png")),
        (("v/*.png", "i/*.png"), ("v/{}.png", "i/{}.png")),
        (("v", "i"), ("v/day/{}.png", "i/day/{}.png")),
        (("v",), ("v/{}_vis.png", "v/{}_ir.png")),
        (("@v.txt", "@i.txt"), ("v/{}.png", "i/{}.png")),
        (("pairs.csv",), ("v/{}.png", "i/{}.png")),
    ],
    ids=["folders", "patterns", "sub-folders", "one folder", "lists", "table"],
)
def test_images_that_are_no_files_fail(
    gffusion: Callable, make: Callable, reason: str, inputs: tuple[str, ...], names: tuple[str, str]
) -> None:
    """Such as links to a memory card that is not mounted: their pairs are not left out."""
    Path("v.txt").write_text("v/0.png\nv/1.png")
    Path("i.txt").write_text("i/0.png\ni/1.png")
    Path("pairs.csv").write_text("visible,infrared\nv/0.png,i/0.png\nv/1.png,i/1.png")
    for name, source in zip(names, PAIR, strict=True):
        Path(name.format(0)).parent.mkdir(parents=True, exist_ok=True)
        Path(name.format(0)).symlink_to(Path(source).absolute())
        make(Path(name.format(1)))
    outcome = gffusion("fuse", *inputs, "-o", "out", "--model", "gffusion-live", "--json")
    report = json.loads(outcome.out)
    assert (outcome.exit_code, report["fused"], report["failed"]) == (1, 1, 1)
    assert reason in next(iter(report["errors"].values()))


@pytest.mark.parametrize(("name", "code"), [("table.csv", 2), ("table.JSON", 2), ("v1.2", 0)])
def test_new_folders_that_are_named_as_files(gffusion: Callable, name: str, code: int) -> None:
    outcome = gffusion("fuse", "visible", "infrared", "-o", name, "--model", "gffusion-live")
    assert (outcome.exit_code, Path(name).exists(), "such as -o table" in outcome.err) == (code, not code, bool(code))


@pytest.mark.parametrize(("platform", "code"), [("darwin", 2), ("win32", 2), ("linux", 0)])
def test_outputs_that_differ_in_case_only(
    gffusion: Callable, monkeypatch: pytest.MonkeyPatch, platform: str, code: int
) -> None:
    rows = [f"visible/rendered_000{number}.png,infrared/rendered_000{number}.png" for number in range(2)]
    Path("pairs.csv").write_text(f"visible,infrared,name\n{rows[0]},Day\n{rows[1]},day\n")
    monkeypatch.setattr(sys, "platform", platform)
    outcome = gffusion("fuse", "pairs.csv", "-o", "out", "--dry-run")
    assert outcome.exit_code == code
    assert ("rendered_0000.png and visible/rendered_0001.png would both be out/day.png" in outcome.err) == (code == 2)


def write_table(count: int) -> tuple[str, ...]:
    """Write pairs.csv, which has one pair several times, and return a command for it."""
    rows = "".join(f"{','.join(PAIR)},{number}\n" for number in range(count))
    Path("pairs.csv").write_text(f"visible,infrared,name\n{rows}")
    return ("fuse", "pairs.csv", "-o", "out", "--model", "gffusion-live")


def wait_for_the_first_image() -> None:
    started = time.monotonic()
    while not Path("out/0.png").exists() and time.monotonic() < started + 60:
        time.sleep(0.02)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_other_signals_interrupt_as_ctrl_c_does() -> None:
    words = "-m", "gffusion", *write_table(500), "--json"
    with start(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        wait_for_the_first_image()
        running.send_signal(signal.SIGTERM)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 143 and "interrupted; files written so far are complete" in err
    report = json.loads(out)
    assert report["interrupted"] and report["exit_code"] == 143 and 0 < report["not_tried"] <= 500
    assert all(path.suffix == ".png" and path.stat().st_size for path in Path("out").iterdir())


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_second_signals_do_not_wait_for_threads() -> None:
    """The same signal twice within a second, as `timeout` sends it, is one."""
    code = """
import time
from concurrent.futures import ThreadPoolExecutor
from gffusion.cli.errors import interrupted_by_signals
with interrupted_by_signals(), ThreadPoolExecutor() as pool:
    pool.submit(time.sleep, 20)
    print("reading", flush=True)
    time.sleep(20)
"""
    with start("-c", code, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None and running.stdout.readline()
        for pause in (0.2, 1.5):
            running.send_signal(signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                running.wait(pause)
        running.send_signal(signal.SIGTERM)
        assert running.wait(5) == 143


@pytest.mark.skipif(os.name == "nt", reason="Windows has no terminals of this kind")
def test_closed_terminals() -> None:
    """Nothing can be printed any more; the exit code is that of SIGHUP, also if something else fails after it."""
    code = """
import signal
from gffusion.cli import main
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # `nohup` ignores it
main("fuse pairs.csv -o out --model gffusion-live --json".split())
"""
    write_table(500)
    ends = os.openpty()
    script = f"import os, fcntl, termios\nos.setsid()\nfcntl.ioctl(0, termios.TIOCSCTTY, 0)\n{code}"
    with start("-c", script, stdin=ends[1], stdout=ends[1], stderr=ends[1]) as running:
        os.close(ends[1])
        wait_for_the_first_image()
        os.close(ends[0])
        assert running.wait(60) == 129


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_programs_that_go_on_after_a_command() -> None:
    """Signals act there and in their child processes as ever, also while Python ends."""
    code = """
import atexit, subprocess
from gffusion.cli import main
atexit.register(lambda: print(subprocess.run(["sh", "-c", "kill -TERM $$"]).returncode))
try:
    main(["models"])
except SystemExit:
    pass
"""
    done = subprocess.run([sys.executable, "-c", code], env=make_environment(), capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "-15"


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_interruptions_after_the_work_of_a_command() -> None:
    """They have an exit code, and no traceback, also when the handlers of signals are removed."""
    code = """
import contextlib, os, signal
import gffusion.cli

handled = gffusion.cli.interrupted_by_signals

@contextlib.contextmanager
def interrupted_by_signals():
    try:
        with handled():
            yield
    finally:
        os.kill(os.getpid(), signal.SIGINT)

gffusion.cli.interrupted_by_signals = interrupted_by_signals
gffusion.cli.main(["models"])
"""
    done = subprocess.run([sys.executable, "-c", code], env=make_environment(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_signals_before_and_after_the_work_of_a_command() -> None:
    """They leave the exit code that the documentation has for them, not that of Ctrl-C."""
    code = """
import os, signal, sys
from gffusion.cli import main
sys.modules["gffusion.cli.pull"].print_line = lambda text: os.kill(os.getpid(), signal.SIGTERM)
main("pull gffusion-funet -o model".split())
"""
    assert subprocess.run([sys.executable, "-c", code], env=make_environment()).returncode == 143


def test_home_folders_that_the_shell_leaves(
    gffusion: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    Path("home").mkdir()
    Path("home/visible.txt").write_text("~/visible.png")
    Path("home/infrared.txt").write_text("~/infrared.png")
    for path in map(Path, PAIR):
        Path("home", f"{path.parent}.png").symlink_to(path.absolute())
    words = ("fuse", "@~/visible.txt", "@~/infrared.txt", "--output=~/out", "-m", "gffusion-live")
    assert gffusion(*words).exit_code == 0
    assert Path("home/out/visible.png").exists() and not Path("~").exists()


def test_one_visible_image_with_two_infrared_images(gffusion: Callable) -> None:
    """As of two thermal cameras: each pair has its own measured range."""
    rows = [f"visible/rendered_0000.png,infrared/rendered_000{number}.png" for number in range(2)]
    options = ("--model", "gffusion-live", "--infrared-range", "percentile", "--smooth-range", "2")
    for output, names in (("both", "ab"), ("first", "a")):
        table = "\n".join(f"{row},{name}" for row, name in zip(rows, names, strict=False))
        Path("pairs.csv").write_text(f"visible,infrared,name\n{table}")
        assert gffusion("fuse", "pairs.csv", "-o", output, *options).exit_code == 0
    assert Path("both/a.png").read_bytes() == Path("first/a.png").read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="Windows allows no such names")
def test_messages_are_one_line_whatever_names_hold(gffusion: Callable) -> None:
    """A name cannot look like a message of the command, nor change the terminal."""
    for options, lines in (([], 1), ([], 1), (["--dry-run"], 2)):  # written, kept, and planned
        outcome = gffusion("fuse", *PAIR, "-o", "a\nerror\x1b[2J.png", "--model", "gffusion-live", *options)
        assert outcome.out.count("\n") == lines and "a\\nerror\\x1b[2J.png" in outcome.out


def test_dry_run_writes_nothing(gffusion: Callable) -> None:
    Path("out").mkdir()
    Path("out/rendered_0000.png").touch()  # an empty file is no result
    Path("out/rendered_0001.png").write_bytes(b"an older result")
    before = sorted(Path().rglob("*"))
    outcome = gffusion("fuse", "visible", "infrared", "-o", "out", "--dry-run")
    assert (outcome.exit_code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0] == "visible/rendered_0000.png + infrared/rendered_0000.png -> out/rendered_0000.png"
    assert lines[1].endswith("-> out/rendered_0001.png (exists, would be skipped)")
    assert lines[-1] == "3 pairs, of which 1 would be skipped; nothing was written"

    report = json.loads(gffusion("fuse", "visible", "infrared", "-o", "out", "--dry-run", "--json", "--segment").out)
    described = report.pop("pairs")
    assert report == {"unmatched": {"visible": [], "infrared": []}, "notes": {}}
    assert [pair["exists"] for pair in described] == [False, False, False]  # the label maps do not exist
    assert described[0] == {
        "visible": "visible/rendered_0000.png",
        "infrared": "infrared/rendered_0000.png",
        "fused": "out/rendered_0000.png",
        "labels": "out/labels/rendered_0000.png",
        "overlay": "out/overlays/rendered_0000.png",
        "exists": False,
    }
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [("--model nonsense", "Unknown model 'nonsense'"), ("--model gffusion-live --segment", "has no segmenter")],
)
def test_dry_run_refuses_what_a_run_refuses(gffusion: Callable, options: str, message: str) -> None:
    outcome = gffusion("fuse", "visible", "infrared", "-o", "out", "--dry-run", *options.split())
    assert (outcome.exit_code, outcome.out) == (2, "") and message in outcome.err


def test_report_as_json_is_all_that_stdout_has(gffusion: Callable, scenes: Path) -> None:
    Path("raw").mkdir()
    for file in (scenes / "infrared").iterdir():
        (Path("raw") / file.name).write_bytes(file.read_bytes()[: None if "0001" not in file.name else 500])
    command = [
        "fuse",
        "visible",
        "raw",
        "-o",
        "out",
        "--model",
        "gffusion-live",
        "--infrared-range",
        "folder",
        "--json",
    ]
    outcome = gffusion(*command)
    report = json.loads(outcome.out)
    assert outcome.exit_code == 1
    assert (report["fused"], report["skipped"], report["failed"]) == (2, 0, 1)
    assert [*report["errors"]] == ["rendered_0001"]
    assert [*report["notes"]] == ["infrared range of 2 images: 0 to 196, in the unit of the files"]
    report = json.loads(gffusion(*command).out)
    assert (report["fused"], report["skipped"]) == (0, 2)
    kept = "kept the existing outputs (model and options are not compared): --overwrite replaces them"
    assert report["notes"][kept] == 2


@pytest.fixture
def uneven(scenes: Path) -> tuple[str, ...]:
    """Return a command for two pairs and two files without a partner."""
    for kind, left_out in (("visible", 1), ("infrared", 2)):
        Path("uneven", kind).mkdir(parents=True)
        for number in {0, 1, 2} - {left_out}:
            shutil.copy(scenes / kind / "rendered_0000.png", Path("uneven", kind, f"{number}.png"))
    return ("fuse", "uneven/visible", "uneven/infrared", "-o", "out", "--model", "gffusion-live")


@pytest.mark.parametrize("dry_run", [True, False])
def test_files_without_a_partner_are_in_the_report(gffusion: Callable, uneven: tuple[str, ...], dry_run: bool) -> None:
    for strict in ((), ("--strict",)):
        outcome = gffusion(*uneven, *["--dry-run"] * dry_run, "--json", *strict)
        assert outcome.exit_code == len(strict)
        assert json.loads(outcome.out)["unmatched"] == {"visible": ["2.png"], "infrared": ["1.png"]}
        assert ("--strict: files without a partner (2)\n" in outcome.err) == bool(strict)
    assert gffusion(*uneven, *["--dry-run"] * dry_run, "--strict").exit_code == 1


@pytest.mark.parametrize("as_json", [True, False])
def test_warnings_and_notes(gffusion: Callable, monkeypatch: pytest.MonkeyPatch, as_json: bool) -> None:
    """They are in the report and faults with `--strict`; a measured range and kept outputs are no faults."""

    def warn(*arguments: Any, **options: Any) -> Any:
        for _ in range(2):
            logging.getLogger("gffusion.models").warning("It looks flat.")
        return fuse_files(*arguments, **options)

    json_option = ["--json"] * as_json
    command = ("fuse", "visible", "infrared", "-o", "out", "--model", "gffusion-live", "--infrared-range", "folder")
    for _ in range(2):
        outcome = gffusion(*command, "--strict", *json_option)
        assert outcome.exit_code == 0
        Path("out/rendered_0001.png").write_bytes(b"")
    monkeypatch.setattr("gffusion.inference.files.fuse_files", warn)
    outcome = gffusion(*command, "--strict", *json_option)
    assert outcome.exit_code == 1 and "--strict: notes or warnings (2)\n" in outcome.err
    assert Path("out/rendered_0001.png").read_bytes()
    if as_json:
        notes = json.loads(outcome.out)["notes"]
        assert notes["It looks flat."] == 2 and len(notes) == 3
    else:
        assert "note: kept the existing outputs (model and options are not compared)" in outcome.err
        assert "(2 pairs)" in outcome.err


def test_a_full_disk_ends_the_run(gffusion: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    table = write_table(8)

    def write(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name != "0.png":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write_with_metadata(path, *arguments, **options)

    monkeypatch.setattr("gffusion.inference.file_jobs.write_with_metadata", write)
    outcome = gffusion(*table, "--json")
    report = json.loads(outcome.out)
    assert (outcome.exit_code, report["fused"]) == (1, 1)
    assert report["failed"] + report["not_tried"] == 7 and report["not_tried"] >= 3
    Path("out/0.png").unlink()
    Path("pairs.csv").write_text(Path("pairs.csv").read_text().replace(",0\n", ",9\n"))
    outcome = gffusion(*table)
    assert outcome.exit_code == 2 and "stopped, because the other pairs would fail, too: " in outcome.err
    assert "more not tried; the same command fuses what is missing when the cause below is gone" in outcome.err
    assert outcome.out == ""  # nothing was fused
    assert ".png: the disk is full" in outcome.err and "Errno" not in outcome.err


def test_report_of_an_interrupted_run(gffusion: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    table = write_table(8)

    def interrupt(*arguments: Any, **options: Any) -> Any:
        yield next(fuse_files(*arguments, **options))
        raise KeyboardInterrupt

    monkeypatch.setattr("gffusion.inference.files.fuse_files", interrupt)
    outcome = gffusion(*table, "--json")
    report = json.loads(outcome.out)
    assert (outcome.exit_code, report["exit_code"], report["interrupted"]) == (130, 130, True)
    assert (report["fused"], report["failed"], report["not_tried"]) == (1, 0, 7)
    outcome = gffusion(*table)
    assert (outcome.exit_code, outcome.out) == (130, "")
    assert "interrupted; files written so far are complete, and the same command fuses what is missing" in outcome.err
    outcome = gffusion(*table, "--overwrite")
    assert outcome.err.strip().endswith("interrupted; files written so far are complete")


def test_names_of_failures(gffusion: Callable) -> None:
    """Two pairs of one name, whose outputs differ in their suffix, and a name with a line break."""
    names = ["a.png", "a.tif", "b\n1.png"]
    rows = "".join(f'"{name}",no.png\n' for name in names)
    Path("pairs.csv").write_text(f"visible,infrared\n{rows}")
    for name in (*names, "no.png"):
        Path(name).write_bytes(b"no image")
    command = ("fuse", "pairs.csv", "-o", "out", "--model", "gffusion-live")
    report = json.loads(gffusion(*command, "--json").out)
    assert [*report["errors"]] == ["a", "a (2)", "b\n1"]
    assert gffusion(*command).err.splitlines()[-1].startswith(r"  b\n1: cannot read the image b 1.png")


def test_json_of_file_names_that_are_no_utf8(capsys: pytest.CaptureFixture[str]) -> None:
    facts = {"fused": "b\u00e4r-\udcff.png"}
    print_json(facts)
    printed = capsys.readouterr().out
    assert json.loads(printed) == facts and "b\u00e4r" in printed


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_json_for_files_and_pipes_of_other_encodings(run_script: Callable, encoding: str) -> None:
    """Escapes of Python, which other texts get, would be no JSON."""
    facts = {"fused": "b\u00e4r-\U0001f600-\udcff.png"}
    program = f"from gffusion.cli import main, models; models.__globals__['asdict'] = lambda _: {facts!a}; main()"
    printed = run_script(program, "models", "--json", environment={"PYTHONIOENCODING": encoding}).stdout
    assert json.loads(printed)[0].items() >= facts.items()


def test_odd_arguments(gffusion: Callable) -> None:
    """A variable that is not set, and a suffix as people write it."""
    outcome = gffusion("fuse", "visible", "", "-o", "out")
    assert (outcome.exit_code, outcome.err.count("\n")) == (2, 1) and "an argument is empty" in outcome.err
    assert "the value of --palette is empty" in gffusion("fuse", "visible", "infrared", "--palette", "").err
    assert "an argument is empty" in gffusion("fuse", "visible", "infrared", "--overwrite", "").err
    for suffix in ("JPG", ".Jpg"):
        outcome = gffusion("fuse", "visible", "infrared", "-o", "out", "--suffix", suffix, "--dry-run")
        assert outcome.exit_code == 0 and "-> out/rendered_0000.jpg\n" in outcome.out

"""The command as a whole: start-up time, help, wrong usage, and how a process ends."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import typer
from environments import make_environment
from PIL import Image
from script_server import ScriptServer

from gffusion import __version__
from gffusion.cli import app
from gffusion.cli.option_values import join_list_words, read_paths
from gffusion.training.recipe import Recipe

COMMANDS = typer.main.get_command(app).commands

# Run the command, then print which of the slow libraries it, or `gffusion.cli`, imported on the way.
IMPORTS = """
import sys
from gffusion.cli import main
try:
    main()
finally:
    print("IMPORTED", sorted({"torch", "transformers", "numpy", "PIL", "scipy.ndimage", "skimage"} & set(sys.modules)))
"""
EVALUATE = "evaluate --visible visible --infrared infrared -o out"
TWO_FILES = "fuse visible/rendered_0000.png infrared/rendered_0000.png -o"


@pytest.fixture(scope="module")
def fork_command(
    scenes: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Run a script with the words of a command in the folder of scenes; `gffusion.cli` is imported already."""
    environment = make_environment()
    with ScriptServer(tmp_path_factory.mktemp("scripts"), "gffusion.cli", environment["PYTHONPATH"]) as server:
        yield lambda script, command: server.run(script, tuple(command.split()), environment, scenes)


@pytest.mark.processes
@pytest.mark.parametrize(
    ("command", "imported"),
    [
        ("--help", []),
        ("fuse --help", []),
        ("sample -h", []),
        ("--version", []),
        ("", []),
        ("models", []),
        ("push nowhere org/name", []),
        ("fuse no.png no.png", []),
        (f"{EVALUATE} --no-baselines", []),
        (f"{EVALUATE} --fused mine=nowhere", ["PIL", "numpy"]),
        (f"{EVALUATE} --model gffusion-huge", ["PIL", "numpy"]),
        (f"{EVALUATE} --sheet rendered_0009", ["PIL", "numpy"]),
        (f"{EVALUATE} --fused average=visible", ["PIL", "numpy"]),
        (f"{EVALUATE} --compare foo", ["PIL", "numpy"]),
        (f"{EVALUATE} --baselines average --compare average", ["PIL", "numpy"]),
        (f"{EVALUATE} --baselines foo", ["PIL", "numpy"]),
        (f"{EVALUATE} --class-names a,b", ["PIL", "numpy"]),
        (f"{EVALUATE} --label-map 1=2", ["PIL", "numpy"]),
        (f"{EVALUATE} --labels labels --crop --align auto", ["PIL", "numpy"]),
        (f"{EVALUATE} --segment-with x", ["PIL", "numpy"]),
        (f"{TWO_FILES} labels/rendered_0000.png", ["PIL", "numpy"]),  # nothing to do
        ("fuse no.png no.png -o out.png", ["PIL", "numpy"]),
        (f"{TWO_FILES} out.gif", ["PIL", "numpy"]),
        (f"{TWO_FILES} out.png --infrared-range 9,9", ["PIL", "numpy"]),
        (f"{TWO_FILES} out.png --model gffusion-huge", ["PIL", "numpy"]),
        (f"{TWO_FILES} out.png --model ./no/model", ["PIL", "numpy"]),
        ("fuse visible/rendered_0000.png -o out.png", ["PIL", "numpy"]),
        ("masks . --method magic", ["PIL", "numpy"]),
        ("masks . --contact-sheet sheet.gif", ["PIL", "numpy"]),
        ("masks . --layout circle", ["PIL", "numpy"]),
        ("masks .", ["PIL", "numpy"]),  # nothing to do
    ],
)
def test_answers_before_torch_is_imported(
    fork_command: Callable[..., subprocess.CompletedProcess[str]], command: str, imported: list[str]
) -> None:
    done = fork_command(IMPORTS, command)
    assert done.stdout.splitlines()[-1] == f"IMPORTED {imported}", done.stderr


@pytest.mark.parametrize("command", ["--help", "-h"])
def test_help_lists_the_commands(gffusion: Callable, command: str) -> None:
    outcome = gffusion(*command.split())
    assert outcome.exit_code == 0
    assert re.findall(r"^  ([a-z]+)  ", outcome.out, re.MULTILINE) == [*COMMANDS]
    assert "..." not in outcome.out.partition("Commands:")[2]  # no line is cut


def test_commands_of_the_welcome_work(gffusion: Callable, cwd: Path) -> None:
    commands = re.findall(r"^  gffusion (.+)", gffusion().out, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["sample", "fuse", "fuse"]
    for command in commands[:2]:
        assert gffusion(*command.split()).exit_code == 0
    assert (cwd / "demo/fused.png").is_file()


@pytest.mark.parametrize(
    ("words", "completed"),
    [("gffusion fu", "fuse"), ("gffusion fuse --dry", "--dry-run"), ("gffusion fuse -m gffusion-l", "gffusion-live")],
)
def test_shells_complete_words(
    run_script: Callable[..., subprocess.CompletedProcess[str]],
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    completed: str,
) -> None:
    monkeypatch.setenv("_GFFUSION_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    assert run_script("from gffusion.cli import main; main()").stdout.split() == [completed]


@pytest.mark.parametrize("word", ["{}.png", "@{}.png", "mine={}.png", "--visible={}.png"])
def test_composed_names_of_decomposed_files(cwd: Path, word: str) -> None:
    composed, decomposed = "w\u00e4rme", "wa\u0308rme"
    assert read_paths([word.format(composed)], ()) == [word.format(composed)]
    Path(f"{decomposed}.png").touch()
    if not Path(f"{composed}.png").exists():  # as on Linux; macOS finds it
        assert read_paths([word.format(composed)], ()) == [word.format(decomposed)]
    Path(f"{composed}.png").touch()
    assert read_paths([word.format(composed)], ()) == [word.format(composed)]


@pytest.mark.parametrize(
    "words", ["fuse rtsp://cam/1 {} -o f.mp4", "evaluate --visible=http://a/x", "fuse a b -o o --model https://b/c"]
)
def test_addresses(gffusion: Callable, words: str) -> None:
    outcome = gffusion(*words.format("HTTPS://a/b.png").split())
    assert (
        outcome.exit_code == 2 and "://" in outcome.err and "addresses are not read: download the file" in outcome.err
    )


@pytest.mark.skipif(os.name == "nt", reason="Windows deletes no folder that a process is in")
def test_deleted_current_folder(
    gffusion: Callable, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Help and version are printed all the same; the report has a test of its own."""
    (folder := tmp_path / "gone").mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    images = [scenes / kind / "rendered_0000.png" for kind in ("visible", "infrared")]
    outcome = gffusion("fuse", *images, "-o", tmp_path / "fused.png", "--json")
    message = "the current folder was deleted: change to another folder"
    assert (outcome.exit_code, outcome.err) == (2, f"gffusion: error: {message}\n")
    assert json.loads(outcome.out) == {"error": message, "exit_code": 2}
    assert [gffusion(*words.split()).exit_code for words in ("--version", "--help", "fuse -h")] == [0, 0, 0]


@pytest.mark.parametrize("name", COMMANDS)
def test_options_are_lower_case_and_listed_in_the_help(gffusion: Callable, name: str) -> None:
    """Releases 0.27 of typer name an option by its metavar, unless the option is spelled out."""
    options = [option for parameter in COMMANDS[name].params for option in parameter.opts if option.startswith("--")]
    outcome = gffusion(name, "--help")
    assert outcome.exit_code == 0
    for option in options:
        assert option == option.lower()
        assert option in outcome.out


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_the_terminal_and_shows_no_types(
    gffusion: Callable, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = gffusion(name, "--help").out.splitlines()
    types = r"<[a-zA-Z]" + (
        r"|\b(TEXT|INTEGER|FLOAT|PATH)\b" if name != "train" else ""
    )  # its types are those of fields
    assert [line for line in lines if len(line) > 80 or re.search(types, line)] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_in_the_help_parse(gffusion: Callable, name: str) -> None:
    text = gffusion(name, "--help").out.replace("\\\n", "")
    lines = re.search(r"^ *Examples:\n((?: +\S.*\n)+)", text, re.MULTILINE)[1].splitlines()
    examples = [shlex.split(line.replace("accelerate launch -m", "")) for line in lines]
    assert 2 <= len(examples) <= 4
    assert examples[0][:2] == ["gffusion", name]
    for program, command, *words in examples:
        assert program == "gffusion"
        if command == "train":
            assert Recipe.parse(words).training.output_dir
        else:
            parameters = COMMANDS[command].params
            COMMANDS[command].make_context(command, join_list_words(read_paths(words, parameters), parameters))


def test_version(gffusion: Callable) -> None:
    outcome = gffusion("--version")
    assert (outcome.exit_code, outcome.out) == (0, f"gffusion {__version__}\n")


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("fly", "fly"),
        ("fuse visible.png infrared.png", "--output"),
        ("fuse visible.png -o out.png", "visible.png does not exist"),
        ("fuse visible.png infrared.png -o out.png --batch-size 0", "--batch-size"),
        ("fuse visible.png infrared.png -o out.png --batch-size many", "--batch-size"),
        ("fuse visible.png infrared.png -o out.png --color", "--color"),
        ("fuse visible.png infrared.png -o out.png --over", "--over"),  # options have no abbreviations
        ("fuse visible.png infrared.png -o out.png --suffix", "--suffix"),
        ("fuse visible.png infrared.png extra.png -o out.png", "extra.png"),
        ("evaluate --metrics EN --metrics=SCD", "--metrics is given 2 times"),
        ("masks data --class-names car --class-names person", "--class-names is given 2 times"),
    ],
)
def test_wrong_usage_is_one_line(gffusion: Callable, command: str, named: str) -> None:
    outcome = gffusion(*command.split())
    assert (outcome.exit_code, outcome.out) == (2, "")
    assert re.fullmatch(rf"gffusion: error: .*{named}.*\n", outcome.err)


@pytest.mark.parametrize(
    ("command", "joined"),
    [
        ("evaluate --metrics EN SCD -o out", "--metrics EN,SCD -o out"),
        ("evaluate --metrics EN, SCD,VIF", "--metrics EN,,SCD,VIF"),
        ("evaluate --metrics=EN SCD --no-baselines", "--metrics=EN,SCD --no-baselines"),
        ("evaluate --baselines average maximum --html", "--baselines average,maximum --html"),
        ("evaluate --baselines --html", "--baselines=all --html"),
        ("evaluate --html --baselines", "--html --baselines=all"),
        ("evaluate -m a b --model c", "-m a -m b --model c"),
        ("evaluate --fused a=x b=y", "--fused a=x --fused b=y"),
        ("evaluate -o out stray", "-o out stray"),
        ("masks --class-names car person data", "--class-names car person data"),  # which of the words is DATA is not clear
    ],
)  # fmt: skip
def test_words_of_a_list_are_joined(command: str, joined: str) -> None:
    name, *words = command.split()
    assert join_list_words(words, COMMANDS[name].params) == joined.split()


def test_output_of_another_encoding(
    run_script: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Files and pipes on Windows cannot hold all characters, which must not look like a failure of the work."""
    environment = {"PYTHONIOENCODING": "cp1252"}
    done = run_script("from gffusion.cli import main; main()", "sample", "夜", folder=tmp_path, environment=environment)
    assert (done.returncode, done.stderr) == (0, "") and r"rendered 1 pair in \u591c" in done.stdout
    assert (tmp_path / "夜" / "visible" / "rendered_0000.png").is_file()


def test_process_of_a_first_try(gffusion_process: Callable, tmp_path: Path) -> None:
    """What the README starts with: a rendered pair, fused."""
    outcome = gffusion_process("sample", tmp_path, "--height", 48, "--width", 64)
    assert (outcome.exit_code, outcome.err) == (0, "")
    pair = [tmp_path / kind / "rendered_0000.png" for kind in ("visible", "infrared")]
    assert all(str(path) in outcome.out for path in pair)

    outcome = gffusion_process("fuse", *pair, "-o", tmp_path / "fused.png")
    assert (outcome.exit_code, outcome.err) == (0, "")
    with Image.open(tmp_path / "fused.png") as fused, Image.open(pair[0]) as visible:
        assert (fused.mode, fused.size) == ("RGB", (64, 48))
        assert np.abs(np.asarray(fused, int) - np.asarray(visible, int)).mean() > 5

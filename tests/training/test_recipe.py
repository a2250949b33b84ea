"""Recipes and command lines: what they ask for, and how mistakes in either are reported."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gffusion.training.recipe import Recipe, find_recipe, list_recipes, read_recipe


def report_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a refused command line prints: one line."""
    with pytest.raises(SystemExit) as stop:
        Recipe.parse(words, "gffusion train")
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("gffusion train: error: ")


class TestParse:
    @pytest.mark.parametrize(
        "words",
        [
            "--train_data a b --infrared_range 7000 9500 --image_size 48 64 --bf16",
            "--train_data a,b --infrared_range 7000,9500 --image_size 48,64 --bf16 true",
            "--train-data a, b --infrared-range=7000,9500 --image-size=48,64 --bf16=yes",
            "--train_data a,b --infrared_range 7000,9500 --image_size 9 9 --image-size=48,64 --bf16",
        ],
        ids=["spaces", "commas", "dashes", "repeated"],
    )
    def test_lists_and_spellings(self, words: str) -> None:
        recipe = Recipe.parse(["--output_dir", "run", *words.split()])
        assert recipe.data.train_data == ["a", "b"]
        assert recipe.data.infrared_range == ["7000", "9500"]
        assert recipe.data.image_size == [48, 64]
        assert recipe.training.bf16 is True

    def test_command_line_overrides_the_recipe(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.yaml"
        path.write_text(
            "output_dir: run\nlearning_rate: 1e-2\nscale: [0.5, 1]\ntrain_data: 'a, b'\neval_data: ['c,d']\n"
            "train_split: 1\nhead_path:\ncache_in_memory: true\nmodel_config: {merging: mean}\nseed: 7\n"
        )
        recipe = Recipe.parse([f"--config={path}", "--seed=3", "--num_train_epochs", "4", "--num_train_epochs", "5"])
        assert (recipe.training.seed, recipe.training.num_train_epochs, recipe.training.learning_rate) == (3, 5, 0.01)
        assert (recipe.data.scale, recipe.data.train_data, recipe.data.eval_data) == ([0.5, 1], ["a", "b"], ["c,d"])
        assert (recipe.data.train_split, recipe.data.cache_in_memory, recipe.model.head_path) == ("1", True, None)
        assert recipe.model.model_config == {"merging": "mean"}
        other = Recipe.parse(["--config", str(path), "--model_config", '{"paradigm": "parallel"}'])
        assert other.model.model_config == {"merging": "mean", "paradigm": "parallel"}

    @pytest.mark.parametrize(
        ("words", "consequences"),
        [
            ("", ["overwrite_output_dir", "hub_model_id"]),
            ("--overwrite_output_dir --hub_model_id me/mine", []),
            ("--overwrite-output-dir false --push-to-hub false", []),
            ("--output_dir new --push_to_hub", ["hub_model_id"]),
        ],
    )
    def test_consequences_that_were_not_typed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, consequences: list[str]
    ) -> None:
        """A recipe of somebody else can delete a run, and publish."""
        monkeypatch.chdir(tmp_path)
        Path("run").mkdir()
        Path("run", "log.jsonl").touch()
        lines = "output_dir: run\noverwrite_output_dir: true\npush_to_hub: true\nhub_model_id: stranger/net\n"
        Path("evil.yaml").write_text(lines)
        notes = Recipe.parse(["--config", "evil.yaml", *words.split()]).notes
        texts = {
            "overwrite_output_dir": "`overwrite_output_dir` of the recipe evil.yaml deletes the run in run.",
            "hub_model_id": "`hub_model_id` of the recipe evil.yaml publishes the model as stranger/net",
        }
        assert len(notes) == len(consequences)
        assert all(note.startswith(texts[name]) for note, name in zip(notes, consequences, strict=True))

    @pytest.mark.parametrize(
        ("words", "number"), [([], 3), (["--dataloader_num_workers", "64"], 64), (["--dataloader_num_workers", "2"], 2)]
    )
    def test_workers_of_a_recipe_are_at_most_the_usable_cores(
        self, monkeypatch: pytest.MonkeyPatch, words: list[str], number: int
    ) -> None:
        monkeypatch.setattr("gffusion.training.recipe_notes.count_cores", lambda: 3)
        recipe = Recipe.parse(["--config", "ablations/hybrid", "--train_data", "a", *words])
        assert recipe.training.dataloader_num_workers == number
        assert ["is 4, but this machine has 3 usable cores" in note for note in recipe.notes] == [True] * (not words)

    @pytest.mark.skipif(os.name == "nt", reason="the home folder has another variable")
    def test_home_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "mine.yaml").write_text("output_dir: ~/run\ntrain_data: [~/a, b]\n")
        recipe = Recipe.parse([f"--config={tmp_path}/mine.yaml"])
        assert recipe.training.output_dir == f"{tmp_path}/run"
        assert recipe.data.train_data == [f"{tmp_path}/a", "b"]

    def test_no_is_no_boolean(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.yaml"
        path.write_text("output_dir: run\neval_strategy: no\n")
        assert Recipe.parse(["--config", str(path)]).training.eval_strategy == "no"

    @pytest.mark.parametrize(
        ("words", "report"),
        [
            ("--learning_rat 3", "unknown option --learning_rat, did you mean --learning_rate?"),
            ("--max-steps 3", "unknown option --max_steps: a run has whole epochs; set num_train_epochs"),
            ("--num-epochs=3", "unknown option --num_epochs=3, did you mean --num_train_epochs?"),
            ("--xyzzy", "unknown option --xyzzy; see `gffusion train --help`"),
            ("stray", "unknown option stray; see `gffusion train --help`"),
            (
                "--reference=infrared",
                "unknown option --reference=infrared: labels lie in the frame of the visible image, which training keeps; "
                "leave it out",
            ),
            ("--seed", "argument --seed: expected one argument"),
            ("--seed abc", "--seed must be int, got 'abc'."),
            ("--seed 2.5", "--seed must be int, got '2.5'."),
            ("--seed 4294967296", "--seed must lie between 0 and 4294967295, got 4294967296."),
            ("--segmentation_weight_end inf", "--segmentation_weight_end must be finite, got inf."),
            ("--learning_rate 2", "--learning_rate must lie in (0, 1], got 2.0."),
            ("--flip 2", "--flip must lie between 0 and 1, got 2.0."),
            ("--night 0.5 --glare 1.5", "--glare must lie between 0 and 1, got 1.5."),
            ("--visible-photometric 1", "--visible-photometric must lie in [0, 1), got 1.0."),
            ("--misalignment=-1", "--misalignment must be at least 0, got -1.0."),
            ("--crop_size -1", "--crop_size must be at least 0, got -1."),
            ("--scale 2 1", "--scale must be a low and a high factor above 0, such as 0.7 and 1.1, got [2.0, 1.0]."),
            ("--scale 1", "--scale must be a low and a high factor above 0, such as 0.7 and 1.1, got [1.0]."),
            (
                "--scale 1,2 --crop_size 0",
                "--scale applies only to random crops: set it to 1 1 with --image_size, or if --crop_size is 0.",
            ),
            (
                "--scale 1,2 --image-size 48,64",
                "--scale applies only to random crops: set it to 1 1 with --image-size, or if --crop_size is 0.",
            ),
            ("--image_size 48", "--image_size must be a height and a width in pixels, got [48]."),
            ("--image_size 0,48", "--image_size must be a height and a width in pixels, got [0, 48]."),
            ("--push_to_hub", "--push_to_hub needs a repository: set --hub_model_id."),
            (
                "--eval-split test",
                "--eval-split needs --eval_data, which can be the same folder as --train_data.",
            ),
            ("--image_size 48,x", "--image_size must be list[int] | None, got [48, 'x']."),
            (
                "--train_data a --train-data b",
                "--train-data is given several times: give all its values after one, separated by spaces",
            ),
            ("--bf16 maybe", "--bf16 must be true or false, got 'maybe'."),
            ("--bf16 --fp16", "--bf16 and --fp16 exclude each other: set one of them."),
            ("--eval_strategy never", "--eval_strategy must be one of no, steps, epoch, got 'never'."),
            (
                "--model_config {a",
                '--model_config must be a mapping, on the command line JSON such as {"merging": "mean"}, got '
                + "'{a'.",
            ),
        ],
    )
    def test_wrong_options(self, capsys: pytest.CaptureFixture[str], words: str, report: str) -> None:
        assert report_of(["--output_dir", "run", *words.split(" ")], capsys) == report

    @pytest.mark.parametrize("name", ["finetune", "./mine.yaml"])
    def test_recipe_without_its_option(self, capsys: pytest.CaptureFixture[str], name: str) -> None:
        report = report_of([name, "--train_data", "a"], capsys)
        assert report == f"unknown option {name}, did you mean --config {name}?"

    @pytest.mark.parametrize(
        ("words", "unused"),
        [
            ("", ""),
            ("--eval_strategy no --eval_on_start false --num_eval_images 0", ""),
            ("--eval_metrics EN --eval_steps 3", "`eval_steps`, `eval_metrics` are"),
            ("--eval_on_start --eval_strategy no", "`eval_on_start` is"),
            ("--eval_metrics EN --eval_data b --eval_split test", ""),
        ],
    )
    def test_typed_options_of_an_evaluation_that_a_run_does_not_have(self, words: str, unused: str) -> None:
        """Those of recipes are for runs with evaluation data as well."""
        notes = Recipe.parse(["--config", "finetune", "--train_data", "a", *words.split()]).notes
        texts = [f"without `eval_data`, there are no evaluations, and {unused} not used."] if unused else []
        assert [note for note in notes if "cores" not in note] == texts

    def test_deeply_nested_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        words = ["--output_dir", "run", "--model_config", "[" * 200_000]
        report = report_of(words, capsys)
        assert report.startswith("--model_config must be a mapping")
        assert len(report) < 400

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
    def test_encodings(self, capsys: pytest.CaptureFixture[str], tmp_path: Path, encoding: str) -> None:
        (path := tmp_path / "recipe.yaml").write_text("output_dir: größe\n", encoding=encoding)
        if encoding == "cp1252":
            assert "recipe.yaml is not UTF-8 text: save it as UTF-8" in report_of(["--config", str(path)], capsys)
        else:
            assert Recipe.parse(["--config", str(path)]).training.output_dir == "größe"

    @pytest.mark.parametrize(
        ("content", "report"),
        [
            (None, "recipe.yaml' is neither a file nor a bundled recipe (ablations/cascading, "),
            ("", "recipe.yaml must hold options"),
            ("- num_train_epochs\n- 3\n", "recipe.yaml must hold options"),
            ("num_train_epochs: [", "recipe.yaml is not YAML"),
            ("output_dir: run\nnum_train_epochs: two\n", "`num_train_epochs` must be int, got 'two'"),
            ("output_dir: run\nnum_train_epochs: 2.5\n", "`num_train_epochs` must be int, got 2.5"),
            ("output_dir: run\nseed: true\n", "`seed` must be int, got True"),
            ("output_dir: run\nnmu_epochs: 3\n", "unknown option nmu_epochs, did you mean num_train_epochs?"),
            ("seed: 2\n", "--output_dir is missing"),
            ("output_dir: run\nglare: 2\n", "`glare` must lie between 0 and 1, got 2"),
            ("base: recipe.yaml\n", "its own `base`"),
            ("base: nowhere.yaml\n", "the name of a bundled one (ablations/cascading, "),
            ("base: 3\n", "got 3"),
        ],
    )
    def test_wrong_recipes(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str | None, report: str
    ) -> None:
        path = tmp_path / "recipe.yaml"
        if content is not None:
            path.write_text(content)
        assert report in report_of(["--config", str(path)], capsys)

    def test_help_explains_every_option(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as stop:
            Recipe.parse(["--help"], "gffusion train")
        text = " ".join(capsys.readouterr().out.split())
        assert stop.value.code == 0
        assert "--num_train_epochs INT Total number of epochs (paper: 150). (default: 150)" in text
        assert "--eval_strategy {no,steps,epoch} When to evaluate" in text
        assert "--scale FLOAT [FLOAT ...] Lowest and highest factor by which images are enlarged" in text
        assert "before they are cropped. (default: 1.0 1.0)" in text
        assert "as in transformers (paper: none). (default: 0)" in text
        assert "--resume_from_checkpoint [BOOL|PATH] Continue" in text

    @pytest.mark.processes
    def test_answers_before_torch_is_imported(
        self, run_script: Callable[..., subprocess.CompletedProcess[str]]
    ) -> None:
        done = run_script(
            "import sys\n"
            "from gffusion.training.recipe import Recipe\n"
            "Recipe.parse(['--config', 'finetune'])\n"
            "print(sorted({'torch', 'transformers', 'accelerate'} & set(sys.modules)))"
        )
        assert done.stdout.strip() == "[]", done.stderr


def test_bundled_recipes_have_names() -> None:
    assert {"finetune", "funet", "paper_m3fd", "ablations/mean"} <= set(list_recipes())
    assert read_recipe(find_recipe("finetune")) == read_recipe("finetune")


def test_base_can_be_a_bundled_recipe(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("base: ablations/mean\nseed: 7\n")
    assert read_recipe(path) == read_recipe("ablations/mean") | {"seed": 7}


def test_base_of_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("seed: 5\nflip: 0\nmodel_config: {paradigm: hybrid, num_groups: 3}\n")
    (tmp_path / "part").mkdir()
    derived = tmp_path / "part" / "derived.yaml"
    derived.write_text("base: ../base.yaml\nseed: 7\nmodel_config: {paradigm: parallel}\n")
    merged: dict[str, Any] = {"seed": 7, "flip": 0, "model_config": {"paradigm": "parallel", "num_groups": 3}}
    assert read_recipe(derived) == merged

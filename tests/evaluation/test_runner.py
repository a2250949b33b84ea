"""`evaluate`: values against the metrics, damaged images, and wrong arguments."""

import csv
import errno
import functools
import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from camera_files import render_pair, to_counts
from evaluation_runs import METRICS, NAMES, run
from numpy.typing import NDArray
from PIL import Image
from read_back import read_pixels

from gffusion import GFFusionImageProcessor, GFFusionModel, create_model
from gffusion.data import ReadOptions
from gffusion.evaluation import evaluate
from gffusion.evaluation.baselines import BASELINES
from gffusion.evaluation.inputs import name_model
from gffusion.evaluation.methods import Model
from gffusion.metrics import PROTOCOLS, MeanIoU, compute_metrics, register_metric, to_luma8


class TestValues:
    def test_are_those_of_the_metrics(self, pairs: Path) -> None:
        table = run(pairs, baselines=["maximum"])
        assert (table.methods, table.is_baseline) == (("sharp", "flat", "maximum"), (False, False, True))
        assert (table.metrics, table.ranked) == ((*METRICS, "Nabf"), tuple(METRICS))
        assert table.images == NAMES
        for index, name in enumerate(NAMES):
            visible, infrared, sharp = (
                to_luma8(read_pixels(next((pairs / kind).glob(f"{name}.*"))))
                for kind in ("visible", "infrared", "sharp")
            )
            for method, fused in (("sharp", sharp), ("maximum", torch.maximum(visible, infrared))):
                expected = compute_metrics(fused, visible, infrared, table.metrics)
                values = dict(zip(table.metrics, table.values[table.methods.index(method), index], strict=True))
                assert values == pytest.approx({metric: value.item() for metric, value in expected.items()})

    def test_protocol_chooses_conventions_and_default_metrics(self, pairs: Path) -> None:
        standard = run(pairs, metrics=["SD"])
        table = run(pairs, metrics=None, protocol="tang2022")
        assert table.metrics == table.ranked == ("EN", "SCD", "VIF", "Qabf")  # neither SSIM nor Nabf
        assert run(pairs, metrics=["SD"], protocol="tang2022").means[0, 0] < 16 < standard.means[0, 0]

    def test_registered_metric_is_measured_ranked_and_compared(self, pairs: Path, tmp_path: Path) -> None:
        def mean_error(fused: torch.Tensor, visible: torch.Tensor, infrared: torch.Tensor) -> torch.Tensor:
            return (fused - torch.maximum(visible, infrared)).abs().mean((1, 2, 3))

        register_metric("ME", mean_error, higher_is_better=False)
        options: dict[str, Any] = {"baselines": ["maximum"], "compare": "flat", "protocol": "tang2023", "metrics": "ME"}
        table = run(pairs, **options, output=tmp_path, html=True, sheet=1)
        for index, name in enumerate(NAMES):
            fused, visible, infrared = (
                to_luma8(read_pixels(next((pairs / kind).glob(f"{name}.*")))).numpy()
                for kind in ("flat", "visible", "infrared")
            )
            assert table.values[1, index, 0] == pytest.approx(np.abs(fused - np.maximum(visible, infrared)).mean())
        assert table.ranked == ("ME",) and table.mean_ranks["maximum"] == 1  # its error is 0
        assert table.outranked["flat"] == ["maximum"]
        assert table.comparison is not None and table.comparison.worse[2, 0] == len(NAMES)
        assert "ME ↓" in (tmp_path / "table.md").read_text("utf-8") and "ME" in (tmp_path / "report.html").read_text()
        assert json.loads((tmp_path / "summary.json").read_text())["methods"]["maximum"]["ME"] == 0

    def test_registered_metric_that_is_nan_or_wrong(self, pairs: Path) -> None:
        """A pair without a value is left out, and a function that returns no values ends the evaluation."""
        register_metric("own", lambda fused, visible, infrared: fused.mean((1, 2, 3)) / 0 * 0, higher_is_better=True)
        with pytest.raises(ValueError, match=r"None of 4 pairs .* sharp: own is nan, so that its mean is not finite"):
            run(pairs, metrics=["own"])
        register_metric("other", lambda fused, visible, infrared: fused.mean(), higher_is_better=True)
        with pytest.raises(TypeError, match=r"^other: the function must return a tensor"):
            run(pairs, metrics=["EN", "other"])

    def test_all_baselines_by_default(self, pairs: Path) -> None:
        table = evaluate(pairs / "visible", pairs / "infrared", metrics=["EN"])
        assert table.methods == tuple(BASELINES)
        assert all(table.is_baseline)

    def test_do_not_depend_on_the_number_of_workers(self, pairs: Path) -> None:
        threads = torch.get_num_threads()
        assert run(pairs, workers=1).to_csv() == run(pairs, workers=3).to_csv()
        assert torch.get_num_threads() == threads

    def test_other_threads_that_start_meanwhile_keep_their_number(self, pairs: Path, two_threads: None) -> None:
        def count_threads(fused: torch.Tensor, visible: torch.Tensor, infrared: torch.Tensor) -> torch.Tensor:
            with ThreadPoolExecutor(1) as executor:
                counts.add((torch.get_num_threads(), executor.submit(torch.get_num_threads).result()))
            return fused.mean((1, 2, 3))

        counts: set[tuple[int, int]] = set()
        register_metric("counted", count_threads, higher_is_better=True)
        run(pairs, metrics=["counted"])
        assert counts == {(1, 2)}

    def test_constant_image_has_the_documented_values(
        self, pairs: Path, save: Callable[[Path, NDArray[Any]], None]
    ) -> None:
        save(pairs / "flat" / "a.png", np.full((48, 64), 77, np.uint8))
        table = run(pairs, metrics=["EN", "SD", "CC", "MI"])
        assert table.values[1, 0].tolist() == [0, 0, 0, 0, 0]
        assert not table.skipped


def test_name_of_a_model_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine" / "best").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "mine" / "best")
    assert [name_model(path) for path in (".", "..", "../best")] == ["mine"] * 3


def test_published_values(data_dir: Path) -> None:
    folder = data_dir / "metrics_reference"
    with (folder / "published_tno.csv").open() as file:
        published = {(row["method"], row["image"], row["metric"]): float(row["value"]) for row in csv.DictReader(file)}
    fused = {name: folder / "fused" / name for name in ("SeAFusion", "U2Fusion")}
    metrics = ["EN", "SD", "MI", "SCD"]
    table = evaluate(
        folder / "visible", folder / "infrared", fused=fused, baselines=(), metrics=metrics, protocol="tang2022"
    )
    for method, values in zip(table.methods, table.values, strict=True):
        for image, row in zip(table.images, values, strict=True):
            assert row.tolist() == pytest.approx([published[method, image, name] for name in metrics], rel=1e-4)


class TestModels:
    @pytest.fixture(scope="class")
    def folder(self, tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[..., GFFusionModel]) -> Path:
        """Save a tiny model with a segmenter."""
        folder = tmp_path_factory.mktemp("models") / "tiny"
        names = dict(enumerate(("background", "person", "bicycle", "car")))
        tiny_model(id2label=names, label2id={name: label for label, name in names.items()}).save_pretrained(folder)
        GFFusionImageProcessor().save_pretrained(folder)
        return folder

    def test_miou_of_their_own_label_maps(
        self, pairs: Path, folder: Path, save: Callable[[Path, NDArray[Any]], None]
    ) -> None:
        rng = np.random.default_rng(0)
        model, processor = GFFusionModel.from_pretrained(folder), GFFusionImageProcessor.from_pretrained(folder)
        metric = MeanIoU(4)
        for name in NAMES[:3]:  # the last pair has no label map
            labels = rng.choice([0, 1, 2, 3, 255], (48, 64)).astype(np.uint8)
            save(pairs / "labels" / f"{name}.png", labels)
            images = tuple(read_pixels(pairs / kind / f"{name}.png") for kind in ("visible", "infrared"))
            with torch.no_grad():
                outputs = model(**processor(images, return_tensors="pt"), segment=True)
            metric.update(outputs.logits, torch.from_numpy(labels.astype(np.int64))[None])
        table = run(pairs, models=[folder], labels=pairs / "labels")
        assert list(table.segmentation) == ["tiny"]
        assert list(table.segmentation["tiny"]) == ["mIoU", "background", "person", "bicycle", "car"]
        assert table.segmentation["tiny"]["mIoU"] == pytest.approx(metric.compute().item())
        assert len(table.images) == 4

    def test_output_that_is_not_finite_is_reported(
        self, pairs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def load(*_: Any, **options: Any) -> Model:
            model = GFFusionModel.from_pretrained(folder)
            for parameter in model.funet.parameters():
                parameter.data.fill_(float("nan"))
            return Model("broken", model, GFFusionImageProcessor())

        monkeypatch.setattr(Model, "load", load)
        with pytest.raises(ValueError, match=r"None of 4 pairs.*broken: The fused .* has values that are not finite"):
            run(pairs, models=[folder])

    def test_models_of_folders_with_one_name(self, pairs: Path, folder: Path, tmp_path: Path) -> None:
        """As of trainings with several seeds."""
        seeds = {name: tmp_path / name / "tiny" for name in ("first", "second")}
        for seed in seeds.values():
            shutil.copytree(folder, seed)
        with pytest.raises(
            ValueError, match=r"Two methods have the name 'tiny': .* as in `models=.* \(--model first=FOLDER\)"
        ):
            run(pairs, models=list(seeds.values()))
        table, expected = run(pairs, models=seeds), run(pairs, models=folder)
        assert table.methods == ("sharp", "flat", "first", "second")
        assert table.to_dict()["second"]["EN"] == expected.to_dict()["tiny"]["EN"]
        assert table.settings["methods"]["second"] == str(seeds["second"])
        with pytest.raises(TypeError, match="`models` must be a name or a list of names, got 3"):
            run(pairs, models={"first": 3})

    def test_name_of_a_baseline_is_no_model(self, pairs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(OSError, match="maximum is a baseline of `gffusion evaluate`"):
            run(pairs, models=["maximum"], baselines=["maximum"])
        monkeypatch.chdir(pairs.parent)
        shutil.copytree(folder, "maximum")
        assert run(pairs, models=["maximum"]).methods == ("sharp", "flat", "maximum")
        with pytest.raises(
            ValueError, match=r"'maximum' is the name of a baseline: .* \(`baselines=\[\]`, --no-baselines"
        ):
            run(pairs, models=["maximum"], baselines=["average", "maximum"])


def test_notes_on_infrared_files(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in NAMES:
        Image.fromarray(to_counts(render_pair(48, 64)[1]).byteswap()).save(pairs / "infrared" / f"{name}.png")
    run(pairs, infrared_options={"infrared_range": "percentile"}, progress=True)
    assert (
        f"note: bytes of 16-bit values swapped, as FLIR stores them in PNG ({len(NAMES)} pairs)"
        in capsys.readouterr().err
    )


def test_noise_behind_a_shutter_is_noted(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = to_counts(render_pair(48, 64)[1])
    for number, name in enumerate(NAMES):
        shown = counts if number else 15000 + counts % 3
        Image.fromarray(shown).save(pairs / "infrared" / f"{name}.png")
    run(pairs, infrared_options={"infrared_range": "percentile"}, progress=True)
    assert re.search(rf"note: .* is below 3 % of the usual one.* \(1 pair: {NAMES[0]}\)", capsys.readouterr().err)


def test_infrared_values_without_range(pairs: Path) -> None:
    for name in NAMES:
        tifffile.imwrite(pairs / "infrared" / f"{name}.tif", np.full((48, 64), 21.5, np.float32))
        (pairs / "infrared" / f"{name}.png").unlink()
    with pytest.raises(ValueError, match="--infrared-range percentile"):
        run(pairs)


class TestDamagedImages:
    @pytest.mark.parametrize(
        ("names", "image", "message"),
        [
            (["visible/b.png"], None, r"^cannot read the image .*b\.png"),
            (
                ["infrared/b.png"],
                np.eye(40, 64, dtype=np.uint8),
                r"b\.png measures 64 x 48 pixels, but .*b\.png 64 x 40",
            ),
            (["infrared/b.tif"], np.full((48, 64), np.nan, np.float32), r"infrared.b\.tif holds floating-point values"),
            (
                [f"{kind}/b.png" for kind in ("visible", "infrared", "flat")],
                np.zeros((48, 64), np.uint8),
                "PSNR is inf",
            ),
        ],
    )
    def test_is_reported_and_left_out_for_all(
        self, pairs: Path, names: list[str], image: Any, message: str, save: Callable[[Path, NDArray[Any]], None]
    ) -> None:
        metrics = ["EN", "PSNR"]
        others = run(pairs, metrics=metrics).values[:, [0, 2, 3]]
        for file in (pairs / name for name in names):
            content = file.with_suffix(".png").read_bytes()
            file.with_suffix(".png").unlink()
            file.write_bytes(content[:300]) if image is None else save(file, image)
        table = run(pairs, metrics=metrics)
        assert table.images == ("a", "c", "d")
        assert np.array_equal(table.values, others)
        [(name, reason)] = table.skipped.items()
        assert name == "b"
        assert re.search(message, reason), reason

    def test_fused_image_that_ends_early_is_filled_on_demand(self, pairs: Path) -> None:
        file = pairs / "flat" / "b.png"
        file.write_bytes(file.read_bytes()[:-900])
        assert list(run(pairs).skipped) == ["b"]
        assert not run(pairs, read_options=ReadOptions(truncated="fill")).skipped

    def test_too_small_for_a_metric(self, pairs: Path) -> None:
        message = (
            r"None of 4 pairs could be measured. a: MS-SSIM: .*176x176.* `metrics=\['EN'.*\]` \(--metrics EN,.*,SSIM\)"
        )
        with pytest.raises(ValueError, match=message):
            run(pairs, metrics="all")


class TestOutput:
    def test_former_table_is_not_replaced(self, pairs: Path, tmp_path: Path) -> None:
        output = tmp_path / "out"
        run(pairs, output=output)
        before = {path.name: path.read_bytes() for path in output.iterdir()}
        other = {"fused": {"blunt": pairs / "sharp"}, "output": output}
        with pytest.raises(ValueError, match=r"out has a table of sharp, flat, .* name these methods again"):
            run(pairs, **other)
        with pytest.raises(ValueError, match=r"a table with the protocol standard, which .* \(--output\)$"):
            run(pairs, output=output, protocol="tang2023", metrics=["EN"])
        assert {path.name: path.read_bytes() for path in output.iterdir()} == before
        both = {name: pairs / folder for name, folder in (("sharp", "sharp"), ("flat", "flat"), ("blunt", "sharp"))}
        table = run(pairs, fused=both, output=output)
        assert table.methods == ("sharp", "flat", "blunt")
        assert table.notes == {"blunt": {"all values are those of sharp, as if its images were the same": NAMES}}

    def test_former_table_of_other_pairs_is_not_replaced(self, pairs: Path, tmp_path: Path) -> None:
        """Neither by a part of its pairs nor by other pairs with some of their names, but by more pairs."""
        options: dict[str, Any] = {"fused": {"flat": pairs / "flat"}, "baselines": (), "metrics": ["EN"]}
        options["output"] = tmp_path / "out"
        evaluate(pairs / "visible" / "[ab].png", pairs / "infrared", **options)
        evaluate(pairs / "visible" / "[abc].png", pairs / "infrared", **options)
        before = (tmp_path / "out" / "summary.json").read_bytes()
        for pattern, lost in (("[ab].png", "c"), ("[cd].png", "a, b"), ("[d].png", "a, b, c")):
            with pytest.raises(ValueError, match=rf"out has a table of other pairs \({lost}\), which .* \(--output\)$"):
                evaluate(pairs / "visible" / pattern, pairs / "infrared", **options)
        assert (tmp_path / "out" / "summary.json").read_bytes() == before
        (pairs / "infrared" / "b.png").unlink()
        (pairs / "visible" / "c.png").unlink()
        assert set(evaluate(pairs / "visible", pairs / "infrared", **options).skipped) == {"b", "c"}

    def test_summary_tells_what_was_measured(self, pairs: Path) -> None:
        options: dict[str, Any] = {"fused": {"flat": pairs / "flat"}, "infrared_options": {"infrared_range": [10, 200]}}
        settings = run(pairs, **options, read_options=ReadOptions(keep_borders=True)).summarize()["settings"]
        assert settings.pop("read_options") == {
            "align": "none", "reference": "visible", "crop": False, "raw_frame": None, "infrared_luma": False,
            "keep_borders": True, "visible_range": None, "max_pixels": ReadOptions().max_pixels, "truncated": "refuse",
        }  # fmt: skip
        digests = settings.pop("sha256")
        assert digests.keys() == {"visible", "infrared", "methods"} and digests["methods"].keys() == {"flat"}
        versions = settings.pop("versions")  # the distribution of torch can leave the local part of its version out
        assert {name: found.partition("+")[0] for name, found in versions.items()} == {
            **{
                name: version(name).partition("+")[0]
                for name in ("gffusion", "torch", "transformers", "numpy", "scipy", "pillow")
            },
            "Python": platform.python_version().partition("+")[0],
        }
        assert settings == {
            "device": "cpu",
            "compared": None,
            **{kind: str(pairs / kind) for kind in ("visible", "infrared")},
            "labels": None,
            "segment_with": None,
            "label_map": {},
            "methods": {"flat": str(pairs / "flat")},
            "predicted_labels": {},
            "metrics": METRICS,
            "infrared_options": "--infrared-range 10,200",
        }
        assert json.loads(json.dumps(settings)) == settings

    @pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
    def test_summary_has_digests_that_other_programs_compute(self, pairs: Path, tmp_path: Path) -> None:
        """Of the images and weights behind the means: without those of a pair that is left out."""
        (pairs / "sharp" / "d.bmp").unlink()
        weights, shards = tmp_path / "whole", tmp_path / "shards"
        model = create_model("gffusion-funet")
        model.save_pretrained(weights)
        model.save_pretrained(shards, max_shard_size="20KB")
        settings = run(pairs, models=[weights, shards], baselines=["average"], compare="flat").settings
        shell = functools.partial(subprocess.run, shell=True, check=True, capture_output=True, text=True, cwd=tmp_path)
        commands = {
            "visible": "cd pairs/visible; sha256sum [abc].png | LC_ALL=C sort | sha256sum",
            "infrared": "cd pairs/infrared; sha256sum [abc].png | LC_ALL=C sort | sha256sum",
            "sharp": "cd pairs/sharp; sha256sum * | LC_ALL=C sort | sha256sum",
            "flat": "cd pairs/flat; sha256sum [abc].png | LC_ALL=C sort | sha256sum",
            "whole": "sha256sum whole/model.safetensors",
            "shards": "cd shards; sha256sum *.safetensors | LC_ALL=C sort | sha256sum",
        }
        expected = {name: shell(command).stdout.split()[0] for name, command in commands.items()}
        sources = {kind: expected.pop(kind) for kind in ("visible", "infrared")}
        assert settings["sha256"] == {**sources, "methods": expected}
        assert settings["compared"] == "flat"

    @pytest.mark.usefixtures("drawn_plots")
    def test_files(self, pairs: Path, tmp_path: Path) -> None:
        table = run(pairs, output=tmp_path / "new" / "out", sheet=["d", "a"])
        files = sorted(path.name for path in (tmp_path / "new" / "out").iterdir())
        figures = ["boxplots.pdf", "boxplots.png", "boxplots.svg", "sheet.png"]
        tables = [f"table.{suffix}" for suffix in ("csv", "md", "tex")]
        assert files == sorted([*figures, *tables, "per_image.csv", "records.jsonl", "summary.json"])
        assert (tmp_path / "new" / "out" / "table.md").read_text(encoding="utf-8") == table.to_markdown()

    def test_former_tables_and_figures_stay_if_one_cannot_be_written(
        self, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def read() -> dict[str, bytes]:
            return {path.name: path.read_bytes() for path in tmp_path.glob("out/*") if path.name != "records.jsonl"}

        def fail(*_: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        run(pairs, output=tmp_path / "out", html=True)
        before = read()
        with monkeypatch.context() as patch:
            patch.setattr("gffusion.evaluation.saving.render_report", fail)
            with pytest.raises(OSError, match="No space left"):
                run(pairs, output=tmp_path / "out", html=True, baselines=["average"])
        assert read() == before
        run(pairs, output=tmp_path / "out", baselines=["average"])
        after = read()
        assert before.keys() - after.keys() == {"report.html"}
        assert {name for name in after if after[name] == before[name]} == {
            f"boxplots.{suffix}" for suffix in ("png", "svg", "pdf")
        }

    def test_sheet_count_is_a_limit(self, pairs: Path, tmp_path: Path) -> None:
        heights = []
        for sheet in (1, 2, 99):
            run(pairs, output=tmp_path, sheet=sheet)
            (tmp_path / "sheet-2.png").touch()  # of an evaluation that showed more pairs
            heights.append(read_pixels(tmp_path / "sheet.png").shape[0])
        assert heights == [heights[0], 2 * heights[0], 4 * heights[0]]
        run(pairs, output=tmp_path, html=True)
        assert not (tmp_path / "sheet-2.png").exists() and (tmp_path / "report.html").exists()
        (tmp_path / "sheet-music.png").touch()
        (tmp_path / "report.html").unlink()
        (tmp_path / "report.html").mkdir()  # a folder of the user
        run(pairs, output=tmp_path, sheet=[])
        figures = {path.name for path in tmp_path.iterdir() if path.suffix in (".png", ".html")}
        assert figures == {"boxplots.png", "sheet-music.png", "report.html"}

    def test_file_in_the_way(self, pairs: Path) -> None:
        with pytest.raises(NotADirectoryError, match="is a file, but a folder is needed"):
            run(pairs, output=pairs / "flat" / "a.png")

    def test_zoom_is_checked_before_pairs_are_measured(
        self, pairs: Path, tmp_path: Path, fusions: list[tuple[str, str]]
    ) -> None:
        with pytest.raises(ValueError, match=r"from 60, 40 to 70, 50 does not lie in \w+, which has 64 x 48 pixels"):
            run(pairs, output=tmp_path / "out", zoom=(60, 40, 70, 50))
        assert fusions == [] and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ["EN", "XY"]}, "no fusion metric 'XY'. Allowed are EN, SD"),
        ({"metrics": []}, "Name at least one metric, or leave `metrics` "),
        ({"metrics": ["mIoU"]}, "no fusion metric 'mIoU'"),
        ({"metrics": ["SSIM"], "protocol": "tang2022"}, "'tang2022' has no fusion metric 'SSIM'"),
        ({"protocol": "tang"}, "Unknown protocol 'tang'. Allowed are standard, tang2022"),
        ({"baselines": ["median"]}, "no baseline 'median'. Allowed are average, .*all or none"),
        ({"baselines": ["average", "average"]}, "Two methods have the name 'average': give each method once"),
        ({"fused": {}}, "nothing to evaluate"),
        ({"workers": 0}, "`workers` must be at least 1, got 0"),
        ({"sheet": 0}, "at least 1 pair, got 0"),
        ({"sheet": "z"}, "no pair 'z' for the sheet"),
        ({"sheet": ["z"]}, "no pair 'z' for the sheet. The first of 4 is 'a'"),
    ],
)
def test_bad_arguments(pairs: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(pairs, **options)


def test_one_name_stands_for_a_list(pairs: Path) -> None:
    single, listed = run(pairs, metrics="EN", baselines="average"), run(pairs, metrics=["EN"], baselines=["average"])
    assert single.ranked == ("EN",) and single.methods == ("sharp", "flat", "average")
    assert single.to_csv() == listed.to_csv()
    assert run(pairs, metrics="all", protocol="tang2023").ranked == tuple(PROTOCOLS["tang2023"].options)


@pytest.mark.parametrize("argument", ["metrics", "baselines", "models", "class_names", "sheet", "fused", "label_map"])
@pytest.mark.parametrize("value", [True, [3]])
def test_arguments_of_another_type(pairs: Path, argument: str, value: Any) -> None:
    with pytest.raises(TypeError, match=rf"`{argument}` must be a (name or a list of names|dict), got"):
        run(pairs, **{argument: value})


def test_no_baselines_are_an_empty_list(pairs: Path) -> None:
    for value in (None, False):
        with pytest.raises(TypeError, match=rf"`baselines` must be .*, got {value}; pass \[\] for none"):
            run(pairs, baselines=value)


@pytest.mark.parametrize("argument", ["visible", "infrared", "labels", "output", "fused['x']", "predicted_labels['x']"])
def test_paths_of_another_type(pairs: Path, argument: str) -> None:
    name, key, _ = argument.partition("[")
    files = [pairs / "visible" / "a.png"]
    folders = {"visible": pairs / "visible", "infrared": pairs / "infrared", "fused": {"x": pairs / "flat"}}
    with pytest.raises(TypeError, match=rf"`{re.escape(argument)}` must be a folder.*, got \["):
        evaluate(**{**folders, name: {"x": files} if key else files})


@pytest.mark.parametrize("kind", ["visible", "infrared"])
def test_a_file_instead_of_a_folder(pairs: Path, kind: str) -> None:
    folders = {"visible": pairs / "visible", "infrared": pairs / "infrared"}
    with pytest.raises(
        NotADirectoryError, match=rf'a\.png is a file, but `{kind}` must be .*"{kind}/\*\.png", or "@list'
    ):
        evaluate(**{**folders, kind: pairs / kind / "a.png"})

"""The table: means, ranks, outranked methods, IoU, and all formats."""

import csv
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor

from gffusion._version import __version__
from gffusion.evaluation import EvaluationTable
from gffusion.evaluation.baseline_names import BASELINE_NAMES
from gffusion.evaluation.table import UNLIMITED_WIDTH
from gffusion.metrics import ClassIoU, MeanIoU, register_metric
from gffusion.metrics.names import DEFAULT_METRICS


def make(**overrides: Any) -> EvaluationTable:
    """Make a table of two methods and a baseline over two images; the order by EN is ours, good_net, average; by MSE the reverse."""
    values = [
        [[7.0, 30.0, 0.5], [8.0, 50.0, 0.7]],
        [[6.0, 20.0, 0.4], [6.5, 40.0, 0.2]],
        [[5.0, 5.0, 0.0], [5.5, 15.0, 0.0]],
    ]
    fields: dict[str, Any] = {
        "methods": ("ours", "good_net", "average"),
        "is_baseline": (False, False, True),
        "metrics": ("EN", "MSE", "Nabf"),
        "ranked": ("EN", "MSE"),
        "images": ("a", "b"),
        "values": np.array(values),
        "protocol": "standard",
    }
    return EvaluationTable(**fields | overrides)


def test_names_of_other_metrics_say_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"Unknown metric 'own': register it with gffusion\.metrics\.register_metric"):
        make(metrics=("EN", "own", "Nabf"), ranked=("EN", "own"))


def mean(fused: Tensor, visible: Tensor, infrared: Tensor) -> Tensor:
    return fused.mean((1, 2, 3))


def test_tables_keep_the_direction_of_a_metric_that_is_registered_again() -> None:
    register_metric("own", mean, higher_is_better=False)
    table = make(metrics=("EN", "own", "Nabf"), ranked=("EN", "own"), compared="ours")
    shown = str(table), table.to_latex()
    register_metric("own", mean, higher_is_better=True)
    assert table.mean_ranks == make().mean_ranks  # as MSE
    assert (str(table), table.to_latex()) == shown and "own ↓" in shown[0]
    assert table.comparison is not None and not table.comparison.better[1, 1]
    assert make(metrics=table.metrics).higher_is_better == (True, True, False)


def test_means_and_ranks_follow_each_metrics_direction() -> None:
    table = make()
    assert table.means.tolist() == [
        [7.5, 40.0, pytest.approx(0.6)],
        [6.25, 30.0, pytest.approx(0.3)],
        [5.25, 10.0, 0.0],
    ]
    assert table.higher_is_better == (True, False, False)
    assert table.ranks.tolist() == [[1, 3, 3], [2, 2, 2], [3, 1, 1]]
    assert table.mean_ranks == {"ours": 2.0, "good_net": 2.0, "average": 2.0}  # Nabf does not count
    assert table.outranked == {"ours": [], "good_net": []}


def test_methods_that_a_baseline_outranks() -> None:
    table = make(ranked=("MSE",))
    assert table.mean_ranks == {"ours": 3.0, "good_net": 2.0, "average": 1.0}
    assert table.outranked == {"ours": ["average"], "good_net": ["average"]}
    assert make(ranked=("EN",)).outranked == {"ours": [], "good_net": []}


def test_equal_means_share_their_ranks() -> None:
    values = make().values.copy()
    values[1] = values[0]
    assert make(values=values).ranks[:, 0].tolist() == [1.5, 1.5, 3.0]


def test_csv_has_a_line_for_each_method_and_image() -> None:
    rows = list(csv.reader(io.StringIO(make(images=("a", "b, second")).to_csv())))
    assert rows[0] == ["method", "image", "EN", "MSE", "Nabf"]
    assert rows[1] == ["ours", "a", "7.0", "30.0", "0.5"]
    assert rows[4] == ["good_net", "b, second", "6.5", "40.0", "0.2"]
    assert len(rows) == 7


def test_markdown() -> None:
    lines = make(ranked=("MSE",)).to_markdown().splitlines()
    assert lines == [
        "| method | EN ↑ | MSE ↓ | Nabf ↓ | mean rank ↓ |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| *average* | 5.250 | **10.00** | **0.000** | **1.0** |",
        "| good_net † | <u>6.250</u> | <u>30.00</u> | <u>0.300</u> | <u>2.0</u> |",
        "| ours † | **7.500** | 40.00 | 0.600 | 3.0 |",
        "",
        f"Means over 2 images, protocol standard, gffusion {__version__}. The mean rank is over MSE, without EN, Nabf. *name*: classical baseline. "
        "name †: mean rank worse than that of a baseline. **number**: best; <u>number</u>: second best.",
    ]


def test_latex() -> None:
    text = make(ranked=("MSE",), methods=("a_b & c\\d", "good_net", "average")).to_latex()
    assert r"\begin{tabular}{lrrrr}" in text
    assert r"Method & EN $\uparrow$ & MSE $\downarrow$ & Nabf $\downarrow$ & mean rank $\downarrow$ \\" in text
    assert r"\textit{average} & 5.250 & \textbf{10.00} & \textbf{0.000} & \textbf{1.0} \\" in text
    assert r"a\_b \& c\textbackslash{}d$^\dagger$ & \textbf{7.500} & 40.00 & 0.600 & 3.0 \\" in text
    assert text.count("{") == text.count("}")
    printed = [line for line in text.splitlines() if not line.startswith("%")]
    assert printed[printed.index(r"\end{tabular}") + 1 :] == [
        r"\par\smallskip",
        rf"{{\footnotesize Means over 2 images, protocol standard, gffusion {__version__}. The mean rank is over MSE, without EN, Nabf. "
        r"\textit{name}: classical baseline. name$^\dagger$: mean rank worse than that of a baseline. "
        r"\textbf{number}: best; \underline{number}: second best.\par}",
    ]


def test_standard_deviations_in_the_notation_of_each_format() -> None:
    table = make(std=True)
    assert table.standard_deviations[:, 0].tolist() == [0.5, 0.25, 0.25]
    markdown, latex, html, text = table.to_markdown(), table.to_latex(), table._repr_html_(), str(table)
    assert "| ours | **7.500 ± 0.500** | 40.00 ± 10.00 | 0.600 ± 0.100 |" in markdown
    assert r"ours & \textbf{7.500 $\pm$ 0.500} & 40.00 $\pm$ 10.00 & 0.600 $\pm$ 0.100 &" in latex
    assert "<td>ours</td><td><b>7.500 ± 0.500</b></td><td>40.00 ± 10.00</td>" in html
    assert "7.500 ± 0.500*" in text
    for output in (markdown, latex, html, text):
        assert "Means and standard deviations over 2 images" in output
    assert "±" not in make().to_markdown()
    lines = make(std=True, ranked=("MSE",)).to_markdown().splitlines()
    assert lines[2].startswith("| *average* | 5.250 ± 0.250 | **10.00 ± 5.00** |")
    assert lines[4].startswith("| ours † | **7.500 ± 0.500** | 40.00 ± 10.00 |")


def test_single_image_has_no_standard_deviation() -> None:
    table = make(std=True, images=("a",), values=make().values[:, :1])
    for output in (table.to_markdown(), table.to_latex(), table._repr_html_(), str(table)):
        assert "Means over 1 image, " in output and "±" not in output and r"$\pm$" not in output
    assert table.summarize()["standard_deviations"]["ours"] == {"EN": None, "MSE": None, "Nabf": None}
    assert "\nours,7.0,,30.0,,0.5,," in table.to_summary_csv()


def test_csv_of_means_and_standard_deviations(tmp_path: Path) -> None:
    counts = np.array([[3, 1], [0, 4]])
    table = make(
        methods=("ours", "=1+2", "average"), class_names=("background", "car"), confusion={"ours": counts[None]}
    )
    header, *rows = csv.reader(io.StringIO(table.to_summary_csv()))
    assert header[:4] == ["method", "EN", "EN std", "MSE"]
    assert header[-4:] == ["mean rank", "mIoU", "IoU background", "IoU car"]
    assert [row[0] for row in rows] == ["ours", "'=1+2", "average"]
    assert [float(cell) for cell in rows[0][1:5]] == [7.5, 0.5, 40.0, 10.0]
    assert [float(cell) for cell in rows[0][-4:]] == pytest.approx([2.0, (3 / 4 + 4 / 5) / 2, 3 / 4, 4 / 5])
    assert rows[1][-3:] == ["", "", ""]


@pytest.mark.parametrize(
    ("means", "shown"),
    [
        ((0.0432, 0.0851), ["0.0851", "0.0432"]),
        ((0.00312, 0.0385), ["0.0385", "0.0031"]),  # below a tenth of the largest
        ((0.00412, 0.0085), ["0.00850", "0.00412"]),
        ((0.4, 0.0123), ["0.400", "0.012"]),
        ((0.4, 0.0823), ["0.4000", "0.0823"]),
        ((6.5, 0.0), ["6.500", "0.000"]),
        ((1e-9, 2e-9), ["0.000000", "0.000000"]),
        ((-0.0432, 0.02), ["0.0200", "-0.0432"]),
    ],
)
def test_three_digits_of_small_values(means: tuple[float, float], shown: list[str]) -> None:
    values = np.array(means).reshape(2, 1, 1)
    options = {"methods": ("a", "b"), "is_baseline": (False, False), "metrics": ("SCD",), "ranked": ("SCD",)}
    lines = make(values=values, images=("x",), **options).to_latex().splitlines()
    cells = [line.split(" & ")[1] for line in lines if line.startswith(("a &", "b &"))]
    assert [re.sub(r"\\\w+\{(.*)\}", r"\1", cell) for cell in cells] == shown


def test_text_lines_up_and_marks() -> None:
    lines = str(make(ranked=("MSE",))).splitlines()
    assert lines[2].split() == ["(average)", "5.250", "10.00*", "0.000*", "1.0*"]
    assert lines[3].split() == ["good_net", "†", "6.250+", "30.00+", "0.300+", "2.0+"]
    assert lines[4].split() == ["ours", "†", "7.500*", "40.00", "0.600", "3.0"]
    assert len({line.index(".") for line in lines[2:5]}) == 1
    assert "name †: mean rank worse than that of a baseline." in lines


def test_styles_on_a_terminal_only_and_names_as_they_are() -> None:
    table = make(methods=("[red]", "good_net", ":smile:"))
    assert "\x1b" not in str(table)
    console = Console(width=UNLIMITED_WIDTH, force_terminal=True, color_system="standard")
    with console.capture() as capture:
        console.print(table)
    assert "\x1b[1;32m7.500*\x1b[0m" in capture.get()
    for text in (str(table), capture.get()):
        assert "[red] " in text
        assert "(:smile:)" in text


def print_at(width: int, table: EvaluationTable) -> list[str]:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(table)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_default_columns_fit_an_old_terminal() -> None:
    metrics = (*DEFAULT_METRICS, "Nabf")
    values = np.random.default_rng(0).random((1 + len(BASELINE_NAMES), 2, len(metrics))) * 10
    table = make(
        methods=("gffusion-tiny", *BASELINE_NAMES),
        is_baseline=(False,) + (True,) * len(BASELINE_NAMES),
        metrics=metrics,
        ranked=metrics[:-1],
        values=values,
    )
    lines = print_at(80, table)
    assert lines[:8] == str(table).splitlines()[:8] and max(map(len, lines)) <= 80


def test_wide_tables_have_blocks_of_columns_and_lose_nothing() -> None:
    methods = ("fine_tuned_on_our_thermal_data_with_rate_0.0001_epoch_30", "good_net", "average")
    table = make(methods=methods, std=True)
    numbers = re.compile(r"\d+\.\d+ ± \d+\.\d+")
    for width in (40, 60, 80):
        lines = print_at(width, table)
        assert max(map(len, lines)) <= width
        assert sorted(numbers.findall("\n".join(lines))) == sorted(numbers.findall(table.to_markdown()))
        blocks = sum("↑" in line or "↓" in line for line in lines)
        assert blocks > 1 and sum(line.startswith("good_net ") for line in lines) == blocks
        assert "".join(line[: width // 2].strip() for line in lines).count(methods[0]) == blocks


def test_equal_texts_are_marked_equally() -> None:
    values = np.array([[[0.50001]], [[0.50002]], [[0.4]]])
    lines = str(make(metrics=("EN",), ranked=("EN",), images=("a",), values=values)).splitlines()
    assert [line.split()[-2] for line in lines[2:5]] == ["0.500*", "0.500*", "0.400+"]
    values[:, 0, 0] = -0.0002, 0.0002, -0.6
    lines = str(make(metrics=("SCD",), ranked=("SCD",), images=("a",), values=values)).splitlines()
    assert [line.split()[-2] for line in lines[2:5]] == ["0.000*", "0.000*", "-0.600+"]
    values[:] = 1
    table = make(metrics=("EN",), ranked=("EN",), images=("a",), values=values)
    assert all("best" not in text and "1.000*" not in text for text in (str(table), table.to_markdown()))


def test_saved_files(tmp_path: Path) -> None:
    table = make()
    table.save(str(tmp_path))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["methods"] == table.to_dict()
    assert (summary["protocol"], summary["images"]) == (table.protocol, len(table.images))
    spread = {name: np.std(table.values[row, :, 0]) for row, name in enumerate(table.methods)}
    assert {name: row[table.metrics[0]] for name, row in summary["standard_deviations"].items()} == pytest.approx(
        spread
    )
    assert summary["methods"]["good_net"] == {"EN": 6.25, "MSE": 30.0, "Nabf": pytest.approx(0.3)}
    assert (tmp_path / "per_image.csv").read_text() == table.to_csv()
    assert (tmp_path / "table.csv").read_text() == table.to_summary_csv()
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == table.to_markdown()
    assert (tmp_path / "table.tex").read_text(encoding="utf-8") == table.to_latex()


def test_iou_is_torchmetrics() -> None:
    generator = torch.Generator().manual_seed(0)
    predicted, labels = torch.randint(0, 3, (2, 5, 20, 20), generator=generator)
    names = ("background", "person", "bicycle", "car")  # no car anywhere
    confusion = torch.bincount(4 * labels.flatten() + predicted.flatten(), minlength=16).reshape(4, 4).numpy()
    table = make(class_names=names, segmented=("a",), confusion={"ours": confusion[None]})
    expected_mean, expected = MeanIoU(4), ClassIoU(4)
    for metric in (expected_mean, expected):
        metric.update(predicted, labels)
    scores = table.segmentation["ours"]
    assert scores["mIoU"] == pytest.approx(expected_mean.compute().item())
    assert [scores[name] for name in names] == pytest.approx(expected.compute().tolist(), nan_ok=True)
    assert table.to_dict()["ours"]["IoU person"] == scores["person"]
    assert "IoU car" not in table.to_dict()["ours"]
    counts = np.bincount(labels.flatten(), minlength=4).tolist()
    assert table.summarize()["label_pixels"] == dict(zip(names, counts, strict=True))
    assert "car 0. Classes of fewer than 1,000 pixels say little: background, person, bicycle." in str(table)
    row = table.to_markdown().splitlines()[-3]
    assert row.startswith(f"| ours | {100 * scores['mIoU']:.1f} |")
    assert row.endswith("| - |")


@pytest.mark.parametrize(("predicted", "counts"), [(0, False), (2, True)])
def test_means_over_different_classes_have_a_note(predicted: int, counts: bool) -> None:
    """One method predicts a class that no label map holds."""
    confusion = {name: np.diag([40, 30, 0, 0])[None] for name in ("ours", "good_net")}
    confusion["ours"][0, 1, predicted] += 10
    table = make(class_names=("background", "person", "bicycle", "car"), segmented=("a",), confusion=confusion)
    expected = MeanIoU(4)
    labels = np.repeat([0, 1, 1], [40, 30, 10])
    expected.update(
        *(torch.from_numpy(values[None, None]) for values in (np.where(np.arange(80) < 70, labels, predicted), labels))
    )
    assert table.segmentation["ours"]["mIoU"] == pytest.approx(expected.compute().item())
    for text in (str(table), table.to_markdown(), table.to_latex()):
        assert ("only for methods that predict them (bicycle: ours)." in text) == counts


class TestPandas:
    def test_frame(self) -> None:
        pytest.importorskip("pandas")
        frame = make().to_pandas()
        assert frame.loc[("good_net", "b"), "MSE"] == 40.0
        assert frame.groupby("method")["EN"].mean()["ours"] == 7.5

    def test_error_names_the_package_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pandas", None)
        with pytest.raises(ImportError, match="pip install pandas"):
            make().to_pandas()

"""Paired tests of a method against the others: by counting all signs, and by hand."""

import csv
import json
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import rankdata

from gffusion.evaluation.significance import adjust_for_number, compare_methods


def count_signs(differences: np.ndarray) -> float:
    """Return the share of all assignments of signs whose rank sum is as far from its mean as that of the differences."""
    ranks = rankdata(np.abs(differences))
    sums = np.array([ranks[np.array(signs)].sum() for signs in product((False, True), repeat=len(ranks))])
    center = ranks.sum() / 2
    return float(np.mean(np.abs(sums - center) >= abs(ranks[differences > 0].sum() - center) - 1e-9))


@pytest.mark.parametrize("count", [3, 7, 10])
def test_p_values_are_shares_of_signs(count: int) -> None:
    values = np.random.default_rng(count).normal([[[0.0]], [[0.4]], [[3.0]]], 1, (3, count, 2))
    values[2, 0] = values[1, 0]  # equal on the first image, which does not count
    comparison = compare_methods(values, [True, False], reference=1)
    for method, metric in product((0, 2), range(2)):
        differences = values[1, :, metric] - values[method, :, metric]
        assert comparison.p_values[method, metric] == pytest.approx(count_signs(differences[differences != 0]))
        assert comparison.differences[method, metric] == pytest.approx(differences.mean())
        higher, lower = int((differences > 0).sum()), int((differences < 0).sum())
        counts = comparison.better[method, metric], comparison.worse[method, metric]
        assert counts == ((higher, lower) if metric == 0 else (lower, higher))
    assert np.isnan(comparison.p_values[1]).all()


def test_differences_in_words() -> None:
    values = np.zeros((2, 10, 2))
    values[1] = np.arange(1, 11)[:, None] * np.array([[1, -1]] * 5 + [[1, 1]] * 5)
    tests = "Wilcoxon signed-rank tests, Holm-corrected for 2 tests, p >= 0.05"
    found = compare_methods(values, [True, True], 0).describe(["mine", "other"], ["EN", "SCD"])
    assert found == f"Not significantly different from mine ({tests}): other (SCD)."
    found = compare_methods(values[..., :1], [True], 0).describe(["mine", "other"], ["EN"])
    assert found == f"Not significantly different from mine ({tests.replace('2 tests', '1 test')}): no method."


@pytest.mark.parametrize("higher", [True, False])
def test_significant_by_ranks_but_not_by_means(higher: bool) -> None:
    """Large differences on few images decide the mean; equal values do not count, nor do differences by chance."""
    differences, alternating = np.arange(-4.0, 36), np.arange(1.0, 41) * ([1, -1] * 20)
    skewed = np.where(differences < 0, 100 * differences, differences)
    by_chance = np.where(alternating == 39, 1000, alternating)  # signed ranks -18, mean > 0
    mostly_equal = np.array([0.0] * 30 + [1, 2, 3, 4, 5, 6, -7, -8, -9, -10])  # more gains, but of low ranks
    columns = np.stack([skewed, differences, by_chance, mostly_equal], axis=1)
    values = np.stack([np.zeros_like(columns), columns])
    for reference, other in ((0, 1), (1, 0)):
        comparison = compare_methods(values, [higher] * 4, reference)
        assert (comparison.adjusted[other] < 0.05).tolist() == [True, True, False, False]
        assert comparison.opposed.tolist() == [[row == other, False] * 2 for row in range(2)]
        found, name = comparison.describe(["zero", "varied"], ["EN", "SD", "AG", "SF"]), ["zero", "varied"][other]
        listed = f"but the other one by the mean: {name} (EN)."
        assert found.endswith(f"{name} (AG, SF). One method is better by the signed ranks, which are tested, {listed}")


def test_no_difference_is_significant() -> None:
    values = np.random.default_rng(0).normal(size=(4, 3, 2))
    found = compare_methods(values, [True, False], 1).describe(["a", "mine", "b", "c"], ["EN", "Nabf"])
    tests = "Wilcoxon signed-rank tests, Holm-corrected for 6 tests, p >= 0.05"
    listed = "all other methods in all metrics. The images are too few to show any difference."
    assert found == f"Not significantly different from mine ({tests}): {listed}"


def test_equal_methods_do_not_differ() -> None:
    """Also if their values were computed in another order."""
    values = np.array([0.1 + 0.2, 0.3])[:, None, None] * np.ones((2, 5, 1))
    assert compare_methods(values, [True], 0).adjusted.tolist() == [[pytest.approx(np.nan, nan_ok=True)], [1.0]]


def test_adjustment_by_hand() -> None:
    """Holm: the smallest p-value times 4, the next one times 3, and so on, never falling and at most 1."""
    p_values = np.array([[0.04, 0.01], [np.nan, np.nan], [0.015, 0.6]])
    assert adjust_for_number(p_values)[[0, 2]] == pytest.approx(np.array([[0.08, 0.04], [0.045, 0.6]]))
    assert np.isnan(adjust_for_number(p_values)[1]).all()
    assert adjust_for_number(np.array([0.5, 0.6])).tolist() == [1.0, 1.0]


def test_evaluation(scenes: Path, tmp_path: Path, gffusion: Callable) -> None:
    """Three images can show no difference; a later run without the option leaves no stale file."""
    command = ("evaluate", "--visible", scenes / "visible", "--infrared", scenes / "infrared", "-o", tmp_path / "out")
    command += ("--metrics", "EN,SCD", "--baselines", "average,maximum")
    outcome = gffusion(*command, "--compare", "maximum")
    assert outcome.exit_code == 0, outcome.err
    tests = "Wilcoxon signed-rank tests, Holm-corrected for 3 tests, p >= 0.05"
    expected = f"Not significantly different from maximum ({tests}): all other methods in all metrics."
    assert "The images are too few to show any difference." in outcome.out
    assert expected in outcome.out and expected in (tmp_path / "out" / "table.md").read_text()
    file = tmp_path / "out" / "significance.csv"
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert {row["compared"] for row in rows} == {"maximum"}
    means = json.loads((tmp_path / "out" / "summary.json").read_text())["methods"]
    difference = means["maximum"]["EN"] - means["average"]["EN"]
    assert float(rows[0]["mean difference"]) == pytest.approx(difference)
    assert [(row["method"], row["metric"]) for row in rows] == [("average", name) for name in ("EN", "SCD", "Nabf")]
    assert all(int(row["better"]) + int(row["worse"]) <= 3 and float(row["p"]) >= 0.25 for row in rows)
    assert gffusion(*command).exit_code == 0 and not file.exists()
    outcome = gffusion(*command, "--compare", "ours")
    assert outcome.exit_code == 2 and "--compare must be one of the methods average, maximum, got 'ours'" in outcome.err
    outcome = gffusion(*command[:-1], "average", "--compare", "average")
    assert outcome.exit_code == 2 and "--compare tests average against other methods" in outcome.err

"""`gffusion show`: one figure of each kind, and what is refused."""

import importlib
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from gffusion import GFFusionConfig
from gffusion.data import read_image
from gffusion.metrics import to_luma8

show_module = importlib.import_module("gffusion.cli.show")

PAIR_KINDS = ("fused", "tokens", "gates", "labels")
LOG = '{"step": 1, "epoch": 0, "loss_structural": 2.5}\n{"step": 2, "epoch": 1, "loss_structural": 1.5}\n'


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_methods_side_by_side(gffusion: Callable, pair: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """Models, and images of other methods that were found by their name."""
    for name in ("mine", "other"):
        Path(name).mkdir()
        shutil.copy("infrared.png", f"{name}/visible.png")
    shown, draw = [], show_module._draw_images
    monkeypatch.setattr(
        show_module,
        "_draw_images",
        lambda images, *rest, **options: (shown.append(images), draw(images, *rest, **options))[1],
    )
    models = ("-m", "live=gffusion-live", "-m", "gffusion-funet") if suffix == ".png" else ()
    outcome = gffusion(
        "show", "fused", "visible.png", "infrared.png", *models, "--fused", "A=mine", "--fused", "B=other",
        "--zoom", "8,4,16,12", "-o", f"figure{suffix}",
    )  # fmt: skip
    notes = [f"note: {name}: the fused image is the infrared one" for name in ("A", "B")]
    assert (outcome.exit_code, outcome.err.splitlines()) == (0, notes)
    [images] = shown
    names = ("live", "gffusion-funet") if models else ()
    assert list(images) == ["visible", "infrared", *names, "A", "B"]
    np.testing.assert_array_equal(images["A"], read_image("infrared.png"))
    assert Path(f"figure{suffix}").stat().st_size > 5000


@pytest.mark.parametrize(
    ("odd", "code", "message"),
    [
        (lambda image: 255 - image, 0, "note: A: its gray levels run against those of both sources"),
        (lambda image: image.astype(np.uint16), 2, "has 16 bits but holds only values up to"),
    ],
)
def test_fused_images_in_a_wrong_range(gffusion: Callable, pair: Path, odd: Callable, code: int, message: str) -> None:
    Path("mine").mkdir()
    shown = to_luma8(read_image("visible.png")).numpy() + read_image("infrared.png")
    Image.fromarray(odd((shown / 2).astype(np.uint8))).save("mine/visible_fused.png")
    outcome = gffusion("show", "fused", "visible.png", "infrared.png", "--fused", "A=mine", "-o", "figure.png")
    assert outcome.exit_code == code and message in outcome.err


@pytest.mark.parametrize("kind", PAIR_KINDS)
def test_figures_of_a_pair(gffusion: Callable, pair: Path, kind: str) -> None:
    outcome = gffusion("show", kind, "visible.png", "infrared.png", "-o", "figure.png")
    assert (outcome.exit_code, outcome.out, outcome.err) == (0, f"{kind} -> figure.png\n", "")
    with Image.open("figure.png") as figure:
        assert min(figure.size) > 200


@pytest.mark.parametrize(("suffix", "start"), [(".svg", b"<?xml"), (".pdf", b"%PDF"), (".png", b"\x89PNG")])
def test_figures_of_a_model_and_a_training_in_any_format(
    gffusion: Callable, cwd: Path, suffix: str, start: bytes
) -> None:
    Path("run").mkdir()
    Path("run/log.jsonl").write_text(LOG)
    for arguments in (["weights"], ["training", "run"], ["training", "run/log.jsonl"]):
        outcome = gffusion("show", *arguments, "-o", f"figure{suffix}", "--overwrite")
        assert (outcome.exit_code, outcome.err) == (0, "")
        assert Path(f"figure{suffix}").read_bytes().startswith(start)


@pytest.mark.parametrize(
    ("runs", "names"),
    [(["a", "b/run", "c/log.jsonl"], ["a", "run", "log"]), (["b/run", "c/run"], ["b/run", "c/run"])],
)
def test_curves_of_several_runs(
    gffusion: Callable, cwd: Path, monkeypatch: pytest.MonkeyPatch, runs: list[str], names: list[str]
) -> None:
    for folder in ("a", "b/run", "c", "c/run"):
        Path(folder).mkdir(parents=True)
        Path(folder, "log.jsonl").write_text(LOG)
    shown: list[Figure] = []
    monkeypatch.setattr(show_module, "_render", lambda figure, _: (shown.append(figure), b"")[1])
    assert gffusion("show", "training", *runs, "-o", "figure.png").exit_code == 0
    assert [text.get_text() for text in shown[0].legends[0].texts] == names


@pytest.mark.parametrize(
    ("weights", "name"),
    [
        (["intensity_weight"], "L_st (Eq. 10) and our terms"),
        ([""], "L_st (Eq. 10)"),
        (["", "vif_weight"], "L_st"),
        (["qabf_weight", "vif_weight"], "L_st (Eq. 10) and our terms"),
        ([None], "L_st"),
    ],
)
def test_curves_name_the_loss_of_their_runs(
    gffusion: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: list[str | None], name: str
) -> None:
    """Runs with and without terms that the paper does not have, and a log without its weights."""
    runs = [tmp_path / str(index) for index in range(len(weights))]
    for run, weight in zip(runs, weights, strict=True):
        config = GFFusionConfig(paradigm="cascading", use_segmenter=False, **({weight: 2.0} if weight else {}))
        run.mkdir()
        (run / "log.jsonl").write_text(LOG)
        if weight is not None:
            config.save_pretrained(run / "last")
    shown: list[Figure] = []
    monkeypatch.setattr(show_module, "_render", lambda figure, _: (shown.append(figure), b"")[1])
    assert gffusion("show", "training", *runs, "-o", tmp_path / "figure.png").exit_code == 0
    assert shown[0].axes[0].get_ylabel() == name


@pytest.mark.parametrize(
    "line",
    [
        '{"step": 2, "loss_structural": 1.5}',
        '{"step": 2, "epoch": "1"}',
        '{"step": 2, "epoch": 1, "loss_structural": null}',
    ],
)
def test_damaged_log(gffusion: Callable, tmp_path: Path, line: str) -> None:
    (tmp_path / "log.jsonl").write_text(f"{LOG}{line}\n")
    outcome = gffusion("show", "training", tmp_path, "-o", tmp_path / "figure.png")
    assert outcome.exit_code == 2 and outcome.err.count("\n") == 1
    assert f"log.jsonl is damaged: {line!r} is no record" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["picture", "-o", "x.png"], "KIND must be one of fused, tokens, gates, labels, weights, training, got 'picture'"),
        (["tokens", "-o", "x.png"], "show tokens needs a pair"),
        (["training", "-o", "x.png"], "show training needs the folder of a run"),
        (["training", "a", "b", "c", "-o", "x.png"], "a does not exist: give the folder of a run"),
        (["training", "a", "b", "a", "-o", "x.png"], "the run a is given twice"),
        (["gates", "visible.png", "infrared.png", "a", "-o", "x.png"], "show gates takes one pair, got visible.png, inf"),
        (["training", ".", "-o", "x.png"], "log.jsonl does not exist"),
        (["weights", "visible.png", "-o", "x.png"], "show weights takes no images"),
        (["weights", "-o", "x.gif"], "--output must be one of .png, .pdf, .svg"),
        (["weights", "-o", "visible.png"], "visible.png exists"),
        (["tokens", "visible.png", "infrared.png", "-o", "x.png", "--zoom", "1,2,3,4"], "--zoom is for show fused"),
        (["training", ".", "-o", "x.png", "-m", "gffusion-live"], "--model is for show fused, tokens, gates, labels, weights"),
        (["weights", "-o", "x.png", "--device", "cpu"], "--device is for show fused, tokens, gates, labels, got show weights"),
        (["tokens", "visible.png", "no.png", "-o", "x.png"], "no.png does not exist"),
        (["tokens", "visible.png", "infrared.png", "-o", "x.png", "-m", "gffusion-live"], "has no encoders"),
        (["gates", "visible.png", "infrared.png", "-o", "x.png", "-m", "gffusion-live"], "injects no features"),
        (["labels", "visible.png", "infrared.png", "-o", "x.png", "-m", "gffusion-live"], "has no segmenter"),
        (["weights", "-o", "x.png", "-m", "gffusion-live"], "gffusion-live: the model has no weights of layers"),
        (["labels", "visible.png", "infrared.png", "-o", "x.svg", "-m", "a", "-m", "b"], "show labels one, got a, b"),
        (["tokens", "visible.png", "infrared.png", "-o", "x.svg", "--fused", "A=mine"], "--fused is for show fused"),
        (["fused", "visible.png", "infrared.png", "-o", "x.svg", "--fused", "mine"], "--fused takes NAME=DIR"),
        (["fused", "visible.png", "infrared.png", "-o", "x.svg", "--fused", "mine=no"], "no does not exist"),
        (["fused", "visible.png", "infrared.png", "-o", "x.svg", "-m", "gffusion-live", "-m", "gffusion-live"], "Two methods have the name 'gffusion-live'"),
        *(
            (["fused", "visible.png", "infrared.png", "-o", "x.png", "--fused", f"{name}=."], f"The name '{name}' of a method")
            for name in ("visible", "infrared", "labels", "A: labels")
        ),
    ],
)  # fmt: skip
def test_wrong_words_are_one_line(gffusion: Callable, pair: Path, arguments: list[str], message: str) -> None:
    outcome = gffusion("show", *arguments)
    assert outcome.exit_code == 2
    assert message in outcome.err and outcome.err.count("\n") == 1
    assert not any(Path(name).exists() for name in ("x.png", "x.svg", "x.gif"))


@pytest.mark.parametrize(
    "arguments", [*(f"{kind} visible.png infrared.png" for kind in PAIR_KINDS), "weights", "training ."]
)
def test_without_matplotlib_the_extra_is_named(
    gffusion: Callable, pair: Path, monkeypatch: pytest.MonkeyPatch, arguments: str
) -> None:
    Path("log.jsonl").write_text(LOG)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("gffusion.zoo.create_model", lambda *_, **__: pytest.fail("a model was loaded before"))
    outcome = gffusion("show", *arguments.split(), "-o", "figure.png")
    assert (outcome.exit_code, outcome.err.count("\n")) == (2, 1)
    assert re.search(r"error: figures need matplotlib: pip install .*\[plots\]", outcome.err)


def test_pairs_are_read_as_fuse_reads_them(gffusion: Callable, pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The options that messages about sizes and ranges advise exist here, too."""
    shown: list[dict[str, np.ndarray]] = []
    monkeypatch.setattr(show_module, "_draw_images", lambda images, *_, **options: shown.append(images) or b"")
    with Image.open("infrared.png") as image:
        counts = np.asarray(image.resize((image.width // 2, image.height // 2))).astype(np.uint16) * 10 + 7000
    Path("counts.raw").write_bytes(counts.astype(">u2").tobytes())
    height, width = counts.shape
    options = ("-m", "gffusion-live", "--infrared-range", "folder", "--align", "resize", "--reference", "infrared")
    options += ("--crop", "--invert", "--raw-frame", f"{height}x{width},>u2", "--max-pixels", "400000")
    assert gffusion("fuse", "visible.png", "counts.raw", "-o", "fused.png", *options).exit_code == 0
    assert gffusion("show", "fused", "visible.png", "counts.raw", "-o", "figure.png", *options).exit_code == 0
    np.testing.assert_array_equal(shown[0]["gffusion-live"], read_image("fused.png"))


@pytest.mark.parametrize("name", ["visible.png", "infrared.png", "mine/visible.png", "link.png"])
def test_inputs_are_not_overwritten(gffusion: Callable, pair: Path, name: str) -> None:
    Path("mine").mkdir()
    shutil.copy("infrared.png", "mine/visible.png")
    Path("link.png").symlink_to("visible.png")
    before = Path(name).read_bytes()
    words = ("show", "fused", "visible.png", "infrared.png", "--fused", "A=mine", "--overwrite", "-o", name)
    outcome = gffusion(*words)
    assert (outcome.exit_code, Path(name).read_bytes()) == (2, before)
    assert f"the output {name} would overwrite an input" in outcome.err

"""The one way to run a model on pairs: row bands, label maps with scales and refinement, arrays in and out."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.utils.logging import warning_once

from gffusion import GFFusionImageProcessor, GFFusionModel, ImageFusionPipeline, create_model
from gffusion.data import PairImages
from gffusion.inference import row_bands
from gffusion.inference.gpu_inputs import prepare_bytes
from gffusion.inference.label_refinement import refine_logits
from gffusion.inference.predict import predict, predict_labels, run_model
from gffusion.models.gffusion.image_ops import rgb_to_luma
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.zoo import load_image_processor

pytestmark = pytest.mark.usefixtures("no_grad")

TinyModel = Callable[..., GFFusionModel]
MakeInputs = Callable[..., dict[str, Tensor]]


class TestRowBands:
    @pytest.mark.parametrize(
        ("choices", "rows", "height"),
        [
            *[
                ({"paradigm": paradigm}, rows, height)
                for paradigm in ("cascading", "parallel", "hybrid")
                for rows, height in ((16, 48), (17, 50), (47, 48))
            ],
            ({"pixel_unshuffle": 2}, 17, 90),
            ({"pixel_unshuffle": 4, "blend_sources": True}, 30, 131),
            ({"context_channels": 3, "blend_sources": True}, 30, 131),
            ({"context_channels": 3, "pixel_unshuffle": 2}, 30, 190),
        ],
    )
    def test_equal_the_whole_image(
        self,
        tiny_model: TinyModel,
        make_inputs: MakeInputs,
        monkeypatch: Any,
        choices: dict[str, Any],
        rows: int,
        height: int,
    ) -> None:
        monkeypatch.setattr(row_bands, "MIN_BAND_ROWS", rows)
        monkeypatch.setattr(row_bands, "BAND_PIXELS", 0)
        inputs = {name: F.interpolate(value, (height, 40)) for name, value in make_inputs().items()}
        model = tiny_model(**choices).eval().double()  # rounding errors in float32 depend on the shape
        encoded: list[int] = []
        encode = model.funet.encode
        monkeypatch.setattr(
            model.funet, "encode", lambda *images: (encoded.append(images[0].shape[-2]), encode(*images))[1]
        )
        banded = run_model(model, **inputs, segment=True, row_bands=True)
        assert len(encoded) > 1 and max(encoded) < height + 1
        whole = run_model(model, **inputs, segment=True)
        assert encoded[-1] == height
        torch.testing.assert_close(banded.fused_values, whole.fused_values, atol=1e-6, rtol=0)
        torch.testing.assert_close(banded.logits, whole.logits, atol=1e-5, rtol=1e-5)

    @pytest.mark.parametrize("paradigm", ["cascading", "parallel", "hybrid"])
    def test_alone_on_a_busy_machine(
        self, tiny_model: TinyModel, make_inputs: MakeInputs, monkeypatch: Any, paradigm: str
    ) -> None:
        scales = [1] if paradigm == "parallel" else [1, 2]
        inputs, model = make_inputs(), tiny_model(paradigm=paradigm, segmenter_scales=scales).eval()
        results = []
        for alone in (False, True):
            monkeypatch.setattr("gffusion.inference.predict.should_compute_alone", lambda functions, alone=alone: alone)
            outputs = run_model(model, **inputs, segment=True, row_bands=True)
            results.append((outputs.fused_values, outputs.logits, predict_labels(model, outputs, **inputs)))
        for divided, single in zip(*results, strict=True):
            torch.testing.assert_close(divided, single, atol=1e-5, rtol=1e-5)

    def test_refused_with_losses(self, tiny_model: TinyModel, make_inputs: MakeInputs) -> None:
        with pytest.raises(ValueError, match="`row_bands` cannot be combined"):
            run_model(tiny_model().eval(), **make_inputs(labels=True), row_bands=True)
        assert run_model(tiny_model().eval(), **make_inputs(labels=True)).loss is not None

    def test_check_inputs_as_forward_does(self, tiny_model: TinyModel, make_inputs: MakeInputs) -> None:
        inputs = make_inputs()
        inputs["infrared_values"] = inputs["infrared_values"][..., 1:]
        with pytest.raises(ValueError, match=r"`visible_values` must have shape \(B, 3, H, W\)"):
            run_model(tiny_model().eval(), **inputs, row_bands=True)


class TestLabels:
    @pytest.mark.parametrize(
        "choices", [{"paradigm": "parallel"}, {"color_space": "rgb"}, {"segmenter_windows": [2, 2]}]
    )
    def test_refinement(self, tiny_model: TinyModel, make_inputs: MakeInputs, choices: dict[str, Any]) -> None:
        inputs = make_inputs()
        model = tiny_model(segmenter_image_size=[32, 32], segmenter_refinement=1.5, **choices).eval()
        outputs = run_model(model, **inputs, segment=True)
        guides = torch.cat([rgb_to_luma(outputs.fused_values), inputs["infrared_values"]], dim=1)
        expected = refine_logits(outputs.logits, guides, (4, 4), 1.5).argmax(dim=1)
        torch.testing.assert_close(predict_labels(model, outputs, **inputs), expected)
        assert not torch.equal(expected, outputs.logits.argmax(dim=1))

    @pytest.mark.parametrize("choices", [{}, {"color_space": "rgb"}, {"paradigm": "cascading"}])
    def test_scales(self, tiny_model: TinyModel, make_inputs: MakeInputs, choices: dict[str, Any]) -> None:
        """Equal to averaging models that each read one scale; 1.5 times two windows per side are three."""
        inputs = make_inputs()
        sizes = {"segmenter_image_size": [32, 32], "segmenter_windows": [2, 2]}
        model = tiny_model(**sizes, segmenter_scales=[1, 1.5], **choices).eval()
        singles = []
        for side, windows in ((32, 2), (48, 3)):
            single = tiny_model(segmenter_image_size=[side] * 2, segmenter_windows=[windows] * 2, **choices).eval()
            single.load_state_dict(model.state_dict())
            singles.append(single(**inputs, segment=True).logits)
        outputs = model(**inputs, segment=True)
        torch.testing.assert_close(outputs.logits, singles[0])  # those of the loss
        expected = (singles[0].softmax(dim=1) + singles[1].softmax(dim=1)).argmax(dim=1)
        torch.testing.assert_close(predict_labels(model, outputs, **inputs), expected)
        model.config.segmenter_scales = [1]
        torch.testing.assert_close(predict_labels(model, outputs, **inputs), singles[0].argmax(dim=1))

    def test_need_logits(self, tiny_model: TinyModel, make_inputs: MakeInputs) -> None:
        model, inputs = tiny_model().eval(), make_inputs()
        with pytest.raises(ValueError, match="segment=True"):
            predict_labels(model, model(**inputs), **inputs)


def test_label_maps_hold_every_class_that_a_model_can_have(tiny_model: TinyModel) -> None:
    model = tiny_model(num_labels=255).eval()
    with torch.no_grad():
        model.ssnet.classifier.bias[254] = 1000
    pair = np.zeros((48, 64, 3), np.uint8), np.zeros((48, 64), np.uint8)
    (prediction,) = predict(model, GFFusionImageProcessor(), [pair], segment=True)
    assert prediction.labels is not None and (prediction.labels == 254).all()


def test_pairs_that_were_read_keep_ranges_and_holes(tiny_model: TinyModel) -> None:
    model, processor = tiny_model().eval(), GFFusionImageProcessor(infrared_range="auto")
    rng = np.random.default_rng(0)
    visible, counts = rng.integers(0, 256, (48, 64, 3), np.uint8), rng.integers(7000, 9000, (48, 64), np.uint16)
    missing = np.zeros((48, 64), np.bool_)
    missing[:20, :30] = True
    low, high = np.percentile(counts[~missing], (0.1, 99.9))
    infrared = np.clip((counts - low) / (high - low), 0, 1).astype(np.float32)
    plain = predict(model, processor, [(visible, infrared)] * 2, missing=[missing, None])
    read = [PairImages(visible, counts, missing, is_raw=True), (visible, infrared)]
    for found, expected in zip(predict(model, processor, read), plain, strict=True):
        np.testing.assert_allclose(found.fused.astype(int), expected.fused, atol=1)
    given = InfraredOptions(infrared_range=[0, 65535])  # which the pair does not replace, nor its mask a given one
    flat = predict(model, processor, read[:1], infrared_options=[given], missing=[None])[0]
    expected = predict(model, processor, [(visible, (counts / 65535).astype(np.float32))])[0]
    np.testing.assert_allclose(flat.fused.astype(int), expected.fused, atol=1)


@pytest.mark.parametrize(
    "make",
    [
        lambda a, b: (a, b),
        lambda a, b: PairImages(a, b),
        lambda a, b: [(a, a, b)],
        lambda a, b: np.stack([a, a]),
        lambda a, b: [np.stack([a, a])],
        lambda a, b: [PairImages(a, b), None],
        lambda a, b: ([a, a], [b, b]),
    ],
)
def test_what_are_no_pairs_is_refused(tiny_model: TinyModel, make: Callable[..., Any]) -> None:
    images = np.zeros((48, 64, 3), np.uint8), np.zeros((48, 64), np.uint8)
    with pytest.raises(
        ValueError,
        match=r"list of pairs.* (put a single pair in brackets|a tuple of 3: give masks as)|`list\(zip\(visible_images",
    ):
        predict(tiny_model().eval(), GFFusionImageProcessor(), make(*images))


@pytest.mark.parametrize(
    ("infrared", "message", "notes"),
    [
        (np.full((48, 64), 290.0), r"values in \[0, 1\].* got 290", ["infrared_range="]),
        (np.full((48, 64), np.nan), r"missing=\[np\.isnan\(infrared\)\]", []),
        (np.zeros((48, 62)), r"first: the pipeline takes align=.* and `read_pair` takes ReadOptions\(align=", []),
        (np.zeros((64, 48)), "rotated by 90 degrees: .* and `read_pair` takes", []),
    ],
)
def test_errors_name_what_predict_takes(tiny_model: TinyModel, infrared: Any, message: str, notes: list[str]) -> None:
    pair = np.zeros((48, 64, 3), np.uint8), infrared
    with pytest.raises(ValueError, match=message) as raised:
        predict(tiny_model().eval(), GFFusionImageProcessor(), [pair])
    added = getattr(raised.value, "__notes__", [])
    assert len(added) == len(notes) and all(word in note for word, note in zip(notes, added, strict=True))


@pytest.mark.parametrize("as_pipeline", [False, True])
def test_visible_arrays_of_few_bits_are_logged(
    tiny_model: TinyModel, caplog: pytest.LogCaptureFixture, as_pipeline: bool
) -> None:
    """As those of files are noted."""
    warning_once.cache_clear()
    model, processor = tiny_model().eval(), GFFusionImageProcessor()
    visible, infrared = np.tile(np.arange(64, dtype=np.uint16), (48, 1)), np.zeros((48, 64), np.uint8)
    infrared[:, 20:] = 200
    fuse = ImageFusionPipeline(model=model, image_processor=processor) if as_pipeline else None
    for factor in (1000, 65, 4, 0):  # to 63000, to 4095, to 252, and black
        pair = visible * np.uint16(factor), infrared
        predict(model, processor, [pair]) if fuse is None else fuse(pair)
    texts = [text for text in caplog.messages if "16 bits but uses" in text]
    expected = [(12, 4095, 16), (8, 255, 256)][: 1 if as_pipeline else 2]  # a pipeline logs each kind of note once
    for text, (bits, end, factor) in zip(texts, expected, strict=True):
        advice = (
            f"set `visible_range=(0, {end})` (--visible-range 0,{end})"
            if as_pipeline
            else f"multiply its values by {factor}"
        )
        assert f"uses {bits}: if it looks too dark, {advice}" in text


@pytest.mark.parametrize(("largest", "advice"), [(0.2, "multiply its values by 5"), (0.6, None), (0.0, None)])
def test_visible_reflectance_is_logged(
    tiny_model: TinyModel, caplog: pytest.LogCaptureFixture, largest: float, advice: str | None
) -> None:
    warning_once.cache_clear()
    visible = np.linspace(0, largest, 48 * 64, dtype=np.float32).reshape(48, 64)
    predict(tiny_model().eval(), GFFusionImageProcessor(), [(visible, np.zeros((48, 64), np.uint8))])
    assert [text.partition("looks too dark, ")[2] for text in caplog.messages if "uses only" in text] == [
        advice
    ] * bool(advice)


@pytest.mark.parametrize("name", ["segment", "row_bands", "infrared_luma"])
def test_flags_are_bools(tiny_model: TinyModel, name: str) -> None:
    """The text "no" counts as true in Python."""
    model, processor = tiny_model().eval(), GFFusionImageProcessor()
    pair = np.zeros((48, 64, 3), np.uint8), np.zeros((48, 64), np.uint8)
    with pytest.raises(ValueError, match=f"`{name}` must be True or False, got 'no'"):
        predict(model, processor, [pair], **{name: "no"})
    predict(model, processor, [pair], **{name: np.bool_(False)})
    if name == "segment":
        with pytest.raises(ValueError, match="`segment` must be True or False, got 'no'"):
            model(**processor(pair, return_tensors="pt"), segment="no")


def test_default_type_of_torch_does_not_matter() -> None:
    model, processor = create_model("gffusion-tiny", use_segmenter=False), load_image_processor("gffusion-tiny")
    rng = np.random.default_rng(0)
    pair = rng.integers(0, 256, (48, 64, 3), np.uint8), rng.integers(0, 256, (48, 64), np.uint8)
    expected = predict(model, processor, [pair])[0].fused
    torch.set_default_dtype(torch.float64)
    try:
        other = create_model("gffusion-tiny", use_segmenter=False)
        np.testing.assert_array_equal(predict(other, processor, [pair])[0].fused, expected)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_arrays_in_and_out(tiny_model: TinyModel, dtype: Any) -> None:
    model, processor = tiny_model().eval(), GFFusionImageProcessor(size_divisor=8)
    scale = 1 if dtype == np.float32 else np.iinfo(dtype).max
    images = np.random.default_rng(0).random((2, 36, 45))
    color = (np.stack([images[0]] * 3, axis=-1) * scale).astype(dtype)
    gray = (images[1] * scale).astype(dtype)
    pairs = [(color, gray), (color[::-1].copy(), gray)]
    first, second = predict(model, processor, pairs, segment=True)
    outputs = run_model(model, **processor(pairs, return_tensors="pt"), segment=True, row_bands=True)
    np.testing.assert_array_equal(first.fused, processor.post_process_fusion(outputs, pairs, "np")[0])
    np.testing.assert_array_equal(first.labels, outputs.logits[0].argmax(dim=0)[:36, :45])
    assert first.fused.dtype == dtype and first.labels.dtype == np.uint8 and second.fused.shape == (36, 45, 3)
    assert predict(model, processor, [(color, gray)])[0].labels is None
    options = iter([processor.infrared_options] * 2)
    again = predict(model, processor, iter(pairs), infrared_options=options, missing=iter([None] * 2))
    np.testing.assert_array_equal(again[1].fused, second.fused)
    compiled = torch.compile(model, backend="eager")
    np.testing.assert_array_equal(predict(compiled, processor, pairs, row_bands=True)[0].fused, first.fused)
    with pytest.raises(ValueError, match="training mode"):
        predict(model.train(), processor, [(color, gray)])


def _scale(outputs: Any, factor: float = 0.5) -> Any:
    outputs.fused_values = factor * outputs.fused_values
    return outputs


def _override(model: GFFusionModel, name: str, change: Callable[[Any], Any]) -> None:
    """Give a model a subclass in which a method has a changed result."""

    def method(self: Any, *inputs: Any, **options: Any) -> Any:
        return change(getattr(super(type(self), self), name)(*inputs, **options))

    model.__class__ = type("Subclass", (GFFusionModel,), {name: method})


def _replace_forward(model: GFFusionModel) -> None:
    forward = model.forward
    model.forward = lambda *inputs, **options: _scale(forward(*inputs, **options))  # type: ignore[method-assign]


CUSTOM_FORWARDS = {
    "subclass": lambda model: _override(model, "forward", _scale),
    "subclass, semantics": lambda model: _override(model, "encode_semantics", lambda tokens: 0 * tokens),
    "subclass, projections": lambda model: _override(
        model, "project_semantics", lambda parts: parts._replace(projections=0 * parts.projections)
    ),
    "subclass, source": lambda model: _override(model, "to_source", lambda values: 0.5 * values),
    "hook": lambda model: model.register_forward_hook(lambda module, inputs, outputs: _scale(outputs)),
    "hook before": lambda model: model.register_forward_pre_hook(lambda module, images: (0.5 * images[0], *images[1:])),
    "replaced": _replace_forward,
}


@pytest.mark.parametrize("customize", CUSTOM_FORWARDS.values(), ids=CUSTOM_FORWARDS)
@pytest.mark.parametrize("is_large", [False, True])
def test_custom_forward_is_called(
    tiny_model: TinyModel, monkeypatch: Any, customize: Callable[[GFFusionModel], Any], is_large: bool
) -> None:
    monkeypatch.setattr("gffusion.inference.large_images.LARGE_PIXELS", 0 if is_large else 2**23)
    monkeypatch.setattr("gffusion.inference.predict.should_compute_alone", lambda functions: True)
    rng = np.random.default_rng(0)
    pair = rng.integers(0, 256, (64, 80, 3), np.uint8), rng.integers(0, 256, (64, 80), np.uint8)
    model, processor = tiny_model(paradigm="hybrid", color_space="rgb").eval(), GFFusionImageProcessor()
    plain = predict(model, processor, [pair])[0].fused
    customize(model)
    inputs = processor([pair], return_tensors="pt")
    expected = processor.post_process_fusion(model(*inputs.values()), [pair], "np")[0]
    found = predict(model, processor, [pair])[0].fused
    np.testing.assert_array_equal(found, expected)
    assert not np.array_equal(found, plain)
    for refused in (model, torch.compile(model, backend="eager")):
        with pytest.raises(ValueError, match="`forward`, or a method that it calls, is overridden"):
            predict(refused, processor, [pair], row_bands=True)
    with pytest.raises(ValueError, match="overridden"):
        run_model(model, **inputs, row_bands=True)


class TestPreparedBytes:
    images = tuple(np.random.default_rng(0).integers(0, 256, shape, np.uint8) for shape in ((40, 50, 3), (40, 50)))

    @pytest.mark.parametrize("batch", [1, 3])
    def test_equal_those_of_the_processor(self, batch: int) -> None:
        processor, pairs = GFFusionImageProcessor(), [self.images] * batch
        found = prepare_bytes(processor, pairs, [processor.infrared_options], torch.device("cpu"))
        assert found is not None
        for name, expected in processor(pairs, return_tensors="pt").items():
            assert torch.equal(found[name], expected) and found[name].is_contiguous()

    @pytest.mark.parametrize(
        ("visible", "infrared", "options"),
        [
            (images[0].astype(np.uint16) * 257, images[1], {}),
            (images[0][..., 0], images[1], {}),
            (images[0], images[0], {}),
            (images[0], images[1][:-1], {}),
            (images[0][:31], images[1][:31], {}),
            (*images, {"size_divisor": 8}),
            (*images, {"infrared_range": "percentile"}),
            (*images, {"infrared_range": (0, 200)}),
            (*images, {"invert": True}),
            (*images, {"agc": "plateau"}),
            (*images, {"infrared_range": "folder"}),
        ],
    )
    def test_others_are_left_to_the_processor(self, visible: Any, infrared: Any, options: dict[str, Any]) -> None:
        pairs, processor = [self.images, (visible, infrared)], GFFusionImageProcessor(**options)
        assert prepare_bytes(processor, pairs, [processor.infrared_options], torch.device("cpu")) is None

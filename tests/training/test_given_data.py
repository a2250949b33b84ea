"""Subsets train like datasets of their pairs, and whole images are evaluated, or the card has no results."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, Dataset, Subset, random_split

from gffusion import FusionTrainer, FusionTrainingArguments, GFFusionModel
from gffusion.data import FusionDataset, read_image, write_image
from gffusion.data.transforms import Compose, RandomCrop, RandomFlip, Resize, Sample
from gffusion.training.given_data import unwrap_subset, warn_about_repeated_pairs, warn_about_wrapper
from gffusion.zoo import load_image_processor

Make = Callable[..., FusionTrainer]
LEFT_OUT = "The evaluation leaves out the random transforms of its data (RandomCrop("
RANDOM = "The items of the evaluation dataset are random"


class Wrapper(Dataset[dict[str, Any]]):
    """As users write it."""

    def __init__(self, base: Any) -> None:
        self.base = base

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.base[index]


class Cropping(Wrapper):
    """Only the third item is random."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        left = int(torch.randint(12, ())) if index == 2 else 0
        return {name: v[..., left : left + 50] for name, v in self.base[index].items() if isinstance(v, torch.Tensor)}


def halve(sample: Sample, rng: np.random.Generator) -> Sample:
    """Not random."""
    return {name: array[:40] for name, array in sample.items() if name in ("visible", "infrared", "labels")}


def test_selection_of_a_selection(pairs: Path) -> None:
    """Only its own epoch changes its items, and ranges of all images stay."""
    whole = FusionDataset(pairs, RandomCrop(32), infrared_range="folder", cache_in_memory=True)
    chosen = unwrap_subset(Subset(Subset(whole, [3, 2, 0]), [2, 0]))
    assert isinstance(chosen, FusionDataset)
    assert chosen.names == ("rendered_0000", "rendered_0003")
    assert [pair.name for pair in chosen.pairs] == list(chosen.names)
    assert list(chosen.read_label_values()) and len(chosen.read_sizes()) == 2
    assert torch.equal(chosen[0]["infrared_values"], whole[0]["infrared_values"])
    chosen.set_epoch(1)
    assert not torch.equal(chosen[0]["infrared_values"], whole[0]["infrared_values"])
    with pytest.raises(IndexError):
        whole.select([4])


def test_selected_items_keep_their_images_and_ranges(pairs: Path) -> None:
    """In memory, each image with a range of its own."""
    whole = FusionDataset(pairs, infrared_range="percentile", smooth_range=3, cache_in_memory=True)
    for item, index in zip(whole.select([3, 1]), (3, 1), strict=True):
        expected = whole[index]
        assert item.pop("name") == expected.pop("name") and item.keys() == expected.keys()
        assert all(torch.equal(item[name], expected[name]) for name in item)


def test_joined_parts_are_refused(make_trainer: Make, pairs: Path) -> None:
    """Their class names, labels and sizes would not be checked, and a run would be resumed with others."""
    trainer, data = make_trainer(), FusionDataset(pairs)
    joined: Any = Subset(ConcatDataset([[], ConcatDataset([Subset(data, [0])])]), [0])
    for which in ([joined], [data, joined]):
        with pytest.raises(ValueError, match=r"join the folders in one, such as FusionDataset\(\["):
            FusionTrainer(trainer.model, trainer.args, *which)
    foreign: Any = ConcatDataset([[{}], Subset([{}], [0])])
    assert unwrap_subset(foreign) is foreign


def test_training_on_a_subset(make_trainer: Make, pairs: Path) -> None:
    """The infrared options are saved with the weights, and another subset is another run."""
    data = FusionDataset(pairs, RandomCrop(32), infrared_range="percentile")
    trainer = make_trainer(training=data, num_train_epochs=1, model={"use_segmenter": False})
    subset = FusionTrainer(trainer.model, trainer.args, Subset(data, [0, 2]))
    subset.train()
    assert load_image_processor(subset.output_dir / "best").infrared_range == "percentile"
    resumed = FusionTrainer(trainer.model, trainer.args, Subset(data, [0, 3]))
    with pytest.raises(ValueError, match="names of the pairs was"):
        resumed.train(resume_from_checkpoint=True)


@pytest.mark.parametrize("index", [4, 99, -5])
def test_index_beyond_the_end(pairs: Path, index: int) -> None:
    data = FusionDataset(pairs)
    for whole in (data, list(range(4)), Subset(data, [0, 1, 2, 3])):
        with pytest.raises(ValueError, match=rf"index {index}, but its dataset has 4 items: .* from 0 to 3"):
            unwrap_subset(Subset(whole, [0, index]))  # type: ignore[arg-type]
    assert len(unwrap_subset(Subset(data, np.array([-4, 3])))) == 2


def test_halves_of_a_random_split(
    make_trainer: Make, pairs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The losses, metrics, figures and the card are those of whole images; the training half keeps its crops."""
    data = FusionDataset(pairs, Compose([RandomCrop(32), RandomFlip()]))
    parts = random_split(data, [2, 2], torch.Generator().manual_seed(0))
    given = make_trainer()
    trainer = FusionTrainer(given.model, given.args, *parts)
    assert caplog.text.count(LEFT_OUT) == 1 and RANDOM not in caplog.text
    scores = trainer.evaluate()
    plain = FusionTrainer(given.model, given.args, data, Subset(FusionDataset(pairs), parts[1].indices)).evaluate()
    assert scores == plain
    trainer.args.num_eval_images = 2
    trainer.train()
    assert trainer.train_dataset[0]["visible_values"].shape == (3, 32, 32)
    assert "gffusion evaluate --visible" in (tmp_path / "run" / "best" / "README.md").read_text()
    width = read_image(next((tmp_path / "run" / "images").iterdir())).shape[1]
    assert width >= 5 * 240 * 64 / 48  # tiles of a height of 240


@pytest.mark.parametrize(
    ("transform", "size"),
    [(Compose([Compose([RandomCrop(32)]), Resize((40, 52)), RandomFlip()]), (40, 52)), (halve, (40, 64))],
)
def test_other_transforms_stay(make_trainer: Make, pairs: Path, transform: Any, size: tuple[int, int]) -> None:
    """But the command of a card would not evaluate these images."""
    trainer = make_trainer(evaluation=FusionDataset(pairs, transform), num_train_epochs=1)
    assert trainer.eval_dataset[0]["visible_values"].shape[1:] == size  # type: ignore[index]
    trainer.train()
    card = (trainer.output_dir / "best" / "README.md").read_text()
    assert "`eval_SSIM`" in card and "gffusion evaluate" not in card


def jitter(sample: Sample, rng: np.random.Generator) -> Sample:
    """Random, without `variants`, so that nobody knows."""
    return sample | {"visible": np.clip(sample["visible"] + rng.uniform(0, 0.1), 0, 1).astype(np.float32)}


@pytest.mark.parametrize(
    ("make", "is_random"),
    [
        (lambda data: data, False),
        (Wrapper, False),
        (lambda data: [data[0], data[1]], False),
        (Cropping, True),
        (lambda data: Subset(Cropping(data), [0, 2]), True),
        (lambda data: FusionDataset(data.pairs[0].visible.parents[1], jitter), True),
        (lambda data: Wrapper(FusionDataset(data.pairs[0].visible.parents[1], RandomCrop(32))), True),
    ],
)
def test_random_items_that_stay(
    make_trainer: Make, pairs: Path, caplog: pytest.LogCaptureFixture, make: Callable[[Any], Any], is_random: bool
) -> None:
    trainer = make_trainer(evaluation=make(FusionDataset(pairs)), num_train_epochs=1)
    assert (RANDOM in caplog.text) == is_random and LEFT_OUT not in caplog.text
    if isinstance(trainer.eval_dataset, FusionDataset):
        fresh = make(FusionDataset(pairs))
        assert torch.equal(trainer.eval_dataset[0]["visible_values"], fresh[0]["visible_values"])  # of the same epoch
    trainer.train()
    assert ("gffusion evaluate" in (trainer.output_dir / "best" / "README.md").read_text()) != is_random


def test_wrappers(pairs: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A warning names what a wrapper does not pass on, if that matters."""

    def warnings(dataset: Any, which: str = "training") -> str:
        caplog.clear()
        warn_about_wrapper(which, dataset)
        return caplog.text

    data = FusionDataset(pairs, RandomCrop(32), infrared_range=(0, 200), agc="clahe", class_names=["a", "b", "c"])
    for wrapper in (Wrapper(data), Subset(Wrapper(data), [0]), Wrapper(Subset(data, [0]))):
        text = warnings(wrapper)
        assert all(name in text for name in ("`set_epoch`", "`infrared_options`", "`class_names`"))
        assert len(caplog.records) == 1 and type(wrapper).__name__ in text
    assert "`set_epoch`" not in warnings(Wrapper(data), "evaluation")
    plain = FusionDataset(pairs, Resize(32))
    plain_text = warnings(Wrapper(plain))
    assert "`class_names`" in plain_text and "`set_epoch`" not in plain_text and "`infrared" not in plain_text
    forwarding = Wrapper(data)
    forwarding.set_epoch, forwarding.infrared_options = data.set_epoch, data.infrared_options  # type: ignore[attr-defined]
    forwarding.class_names = data.class_names  # type: ignore[attr-defined]
    for fine in (data, forwarding, [data[0]], unwrap_subset(Subset(data, [0]))):
        assert not warnings(fine)


def test_labels_without_names(
    tiny_model: Callable[..., GFFusionModel],
    pairs: Path,
    unlabeled_pairs: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They are read as the classes of the model, which a warning names."""
    (tmp_path / "data").mkdir()
    for kind in ("visible", "infrared", "labels"):
        (tmp_path / "data" / kind).symlink_to(pairs / kind)
    unnamed, numbered = FusionDataset(tmp_path / "data"), {"num_labels": 4}
    named = {"id2label": dict(enumerate(["background", "car", "person", "bike"]))}
    forwarding = Wrapper(unnamed)
    forwarding.class_names = ("car", "person", "bike")  # type: ignore[attr-defined]
    arguments = FusionTrainingArguments(str(tmp_path / "run"), per_device_train_batch_size=2, head_start_epoch=0)
    for data, model, is_warned in (
        (unnamed, named, True),
        (Subset(unnamed, [0, 1]), named, True),
        (Wrapper(unnamed), named, True),
        (unnamed, numbered, False),
        (unnamed, named | {"use_segmenter": False}, False),
        (FusionDataset(unlabeled_pairs), named, False),
        (FusionDataset(tmp_path / "data", class_names=["car", "person", "bike"]), named, False),
        (forwarding, named, False),
        ([unnamed[0], unnamed[1]], named, False),
    ):
        caplog.clear()
        FusionTrainer(tiny_model(paradigm="cascading", **model), arguments, data)
        assert ("read as 0 background, 1 car, 2 person, 3 bike, the classes" in caplog.text) == is_warned
        assert ("does not name its classes" in caplog.text) == is_warned


def test_infrared_images_of_no_use(
    pairs: Path, tmp_path: Path, make_trainer: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """Noise in one folder of two, of which the other one has few counts, and a repeated image; the trainer reads all once more."""
    shutil.copytree(pairs, tmp_path / "open", ignore=shutil.ignore_patterns("labels", "boxes"))
    shutil.copytree(tmp_path / "open", tmp_path / "dim")
    opened, dim = tmp_path / "open" / "infrared", tmp_path / "dim" / "infrared"
    for file in sorted(dim.iterdir()):
        write_image(file, read_image(file) // 50)
    noise = np.random.default_rng(0).integers(90, 93, (48, 64)).astype(np.uint8)
    write_image(opened / "rendered_0000.png", noise)
    shutil.copy(opened / "rendered_0002.png", opened / "rendered_0003.png")
    dataset = FusionDataset([tmp_path / "open", tmp_path / "dim"])
    found = [(str(opened / f"rendered_000{index}.png"), word) for index, word in ((3, "frozen"), (0, "closed shutter"))]
    assert [(name, word) for name, note in dataset.note_infrared() for _, word in found if word in note] == found
    assert [name for name, _ in dataset.note_infrared(3)] == [found[1][0]]
    rows = [{"visible": pair.visible, "infrared": pair.infrared} for pair in dataset.pairs[:4]]
    assert [name for name, _ in FusionDataset.from_dataset(rows).note_infrared()] == ["row 3", "row 0"]
    assert FusionDataset(pairs).note_infrared() == dataset.select([1, 2, 4, 5]).note_infrared() == []
    make_trainer(training=FusionDataset(tmp_path / "open", RandomCrop(32)))
    for name, word in found:
        assert any(f"1 of 4 training pairs ({name}): " in text and word in text for text in caplog.messages)
    for index, value in enumerate((91, 91, 92)):  # which repeat each other, but were no scene before
        write_image(dim / f"rendered_000{index}.png", np.full((48, 64), value, np.uint8))
    caplog.clear()
    make_trainer(training=FusionDataset(tmp_path / "dim", RandomCrop(32)))
    assert "3 of 4 training pairs" in caplog.text and "are 91 to 92" in caplog.text and "frozen" not in caplog.text


def test_pairs_that_are_given_twice(pairs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    link = tmp_path / "link"
    link.symlink_to(pairs)
    warn_about_repeated_pairs("training", FusionDataset([pairs, link]))
    assert "4 of 4 training images are given several times" in caplog.text
    caplog.clear()
    warn_about_repeated_pairs("training", FusionDataset(pairs))
    warn_about_repeated_pairs("training", [{}])
    assert not caplog.text


class Brighter(GFFusionModel):
    def forward(self, visible_values: torch.Tensor, infrared_values: torch.Tensor, **options: Any) -> Any:
        outputs = super().forward(visible_values, infrared_values, **options)
        if outputs.loss is not None:
            outputs.loss = outputs.loss + (1 - outputs.fused_values).mean()
        return outputs


class Gamma(Brighter):
    def forward(self, *values: Any, **options: Any) -> Any:
        outputs = super().forward(*values, **options)
        outputs.fused_values = outputs.fused_values.sqrt()
        return outputs


class OwnLoss(Brighter):
    def forward(self, *values: Any, **options: Any) -> Any:
        outputs = super().forward(*values, **options)
        return type(outputs)(loss=outputs.loss, fused_values=outputs.fused_values)


@pytest.mark.parametrize("kind", [GFFusionModel, Brighter, Gamma])
def test_an_image_of_a_subclass_is_not_that_of_the_saved_weights(
    make_trainer: Make, tiny_model: Callable[..., GFFusionModel], caplog: pytest.LogCaptureFixture, kind: type
) -> None:
    model = tiny_model(paradigm="cascading")
    model.__class__ = kind
    trainer = make_trainer(model=model, evaluation=True, num_train_epochs=1, num_eval_images=1)
    trainer.train()
    assert ("Gamma changes the fused image. Commands" in caplog.text) == (kind is Gamma)
    card = (trainer.output_dir / "best" / "README.md").read_text()
    assert ("Measured with these weights" in card) == (kind is not Gamma)


def test_a_layer_of_ones_own_is_not_in_the_saved_weights(
    make_trainer: Make, tiny_model: Callable[..., GFFusionModel], caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny_model(paradigm="cascading")
    usual = make_trainer(model=model)
    FusionTrainer(torch.compile(model), usual.args, usual.train_dataset)  # type: ignore[arg-type]
    model.funet.visible_encoder.activation = torch.nn.LeakyReLU(model.config.leaky_relu_slope)  # the same
    make_trainer(model=model)
    assert "changes the fused image" not in caplog.text
    model.funet.visible_encoder.activation = torch.nn.GELU()
    make_trainer(model=model)
    assert "A layer, method or hook of your own changes the fused image" in caplog.text


class Penalized(GFFusionModel):
    def forward(self, *values: Any, **options: Any) -> Any:
        outputs = super().forward(*values, **options)
        weight = self.funet.visible_encoder.stem.weight
        (gradient,) = torch.autograd.grad(outputs.fused_values.sum(), weight, create_graph=True)
        outputs.loss = outputs.loss + gradient.square().mean()
        return outputs


def test_an_image_that_cannot_be_compared_is_no_reason_to_stop(
    make_trainer: Make, tiny_model: Callable[..., GFFusionModel], caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny_model(paradigm="cascading")
    model.__class__ = Penalized
    make_trainer(model=model, num_train_epochs=1).train()
    assert "could not be compared with that of GFFusionModel" in caplog.text


def test_the_losses_that_a_subclass_drops_are_named(
    make_trainer: Make, tiny_model: Callable[..., GFFusionModel]
) -> None:
    model = tiny_model(paradigm="cascading")
    model.__class__ = OwnLoss
    with pytest.raises(ValueError, match=r"OwnLoss must return loss_structural, .*loss_segmentation, too: call"):
        make_trainer(model=model).train()

"""The order of pairs: the same for every way to share a step out, and from every step on."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from gffusion import FusionTrainer, GFFusionConfig
from gffusion.training.sampling import StepSampler, collate, mix_pairs

LENGTH = 27


def batches(split: tuple[int, int, int], epoch: int = 0, first_step: int = 0, seed: int = 0) -> list[list[list[int]]]:
    """Of each process, its batches in an epoch; `split` is pairs a batch, batches a step, processes."""
    batch_size, batches_per_step, num_processes = split
    samplers = [
        StepSampler(LENGTH, batch_size, batches_per_step, seed, process, num_processes)
        for process in range(num_processes)
    ]
    for sampler in samplers:
        sampler.start_at(epoch, first_step)
    yielded = [list(sampler) for sampler in samplers]
    assert [len(sampler) for sampler in samplers] == [len(own) for own in yielded]
    return yielded


def steps(split: tuple[int, int, int], **options: int) -> list[set[int]]:
    """The pairs of each step, whoever computes them."""
    batch_size, batches_per_step, _ = split
    yielded = batches(split, **options)
    assert all(len(batch) == batch_size for own in yielded for batch in own)
    starts = range(0, len(yielded[0]), batches_per_step)
    return [{pair for own in yielded for b in own[start : start + batches_per_step] for pair in b} for start in starts]


@pytest.mark.parametrize("split", [(8, 1, 1), (4, 2, 1), (4, 1, 2), (2, 2, 2), (1, 8, 1), (1, 1, 8), (1, 2, 4)])
def test_every_split_takes_the_same_pairs(split: tuple[int, int, int]) -> None:
    expected = steps((8, 1, 1), epoch=3)
    assert steps(split, epoch=3) == expected
    assert len(expected) == 3
    assert len(set().union(*expected)) == 24  # no pair twice


def test_epochs_and_seeds_differ_and_no_pair_always_waits() -> None:
    orders = [batches((8, 1, 1), epoch=epoch, seed=seed)[0] for epoch in range(3) for seed in range(3)]
    assert all(orders.count(order) == 1 for order in orders)
    seen = set().union(*(step for epoch in range(20) for step in steps((8, 1, 1), epoch=epoch)))
    assert seen == set(range(LENGTH))


@pytest.mark.parametrize("split", [(4, 1, 1), (2, 2, 1), (1, 2, 2)])
def test_restart_yields_the_rest(split: tuple[int, int, int]) -> None:
    whole = batches(split, epoch=2)
    for step in range(LENGTH // 4 + 1):
        rest = batches(split, epoch=2, first_step=step)
        assert rest == [own[step * split[1] :] for own in whole]


def test_global_random_state_is_not_touched() -> None:
    before = torch.get_rng_state()
    first = batches((4, 1, 1))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(4)
    assert batches((4, 1, 1)) == first


def test_too_few_pairs() -> None:
    (batch,) = StepSampler(3, batch_size=8)  # one process without accumulation takes what there is
    assert sorted(batch) == [0, 1, 2]
    for options in ({"batches_per_step": 2}, {"num_processes": 2}):
        with pytest.raises(ValueError, match=r"A step takes 16 pairs .* the dataset has 3"):
            StepSampler(3, batch_size=8, **options)
    with pytest.raises(ValueError, match="the dataset has 0"):
        StepSampler(0, batch_size=8)


def test_collate_keeps_what_the_model_reads() -> None:
    items: list[dict[str, Any]] = [
        {"visible_values": torch.full((3, 2, 2), value), "infrared_values": torch.zeros(1, 2, 2), "name": "x"}
        for value in (0.0, 1.0)
    ]
    batch = collate(items)
    assert batch.keys() == {"visible_values", "infrared_values"}
    assert batch["visible_values"][:, 0, 0, 0].tolist() == [0, 1]
    tokens = collate([item | {"token_key": "k", "semantic_tokens": None} for item in items])
    assert (tokens["token_key"], tokens["semantic_tokens"]) == (["k", "k"], [None, None])


def test_collate_takes_arrays() -> None:
    """Also of 16 bits, and mirrored ones."""
    image, labels = np.arange(12, dtype=np.float32).reshape(3, 2, 2), np.arange(4, dtype=np.uint16).reshape(2, 2)
    batch = collate([{"visible_values": image[..., ::-1], "labels": labels}] * 2)
    assert torch.equal(batch["visible_values"][1], torch.from_numpy(image).flip(-1))
    assert batch["labels"].long().tolist() == [labels.tolist()] * 2


def test_labels_without_a_segmenter(tiny_config: Callable[..., GFFusionConfig]) -> None:
    """transformers' Trainer gives the model whatever is collated."""
    items = [{"visible_values": torch.zeros(3, 4, 4), "labels": torch.zeros(4, 4, dtype=torch.uint8)}] * 2
    for use_segmenter in (True, False):
        assert ("labels" in collate(items, tiny_config(use_segmenter=use_segmenter))) == use_segmenter


def test_labels_of_some_pairs() -> None:
    image = {"visible_values": torch.zeros(3, 4, 4)}
    with pytest.raises(ValueError, match="Only some pairs of a batch have 'labels'"):
        collate([image, image | {"labels": torch.zeros(4, 4)}])


def test_wrong_labels_do_not_reach_a_gpu(
    make_trainer: Callable[..., FusionTrainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where they end the process. Only the first item of a dataset other than ours is read before."""
    monkeypatch.setattr("gffusion.models.gffusion.modeling_gffusion.check_inputs", lambda *_: None)
    images = {"visible_values": torch.zeros(3, 32, 32), "infrared_values": torch.zeros(1, 32, 32)}
    items = [images | {"labels": torch.full((32, 32), label, dtype=torch.uint8)} for label in (1, 9)]
    trainer = make_trainer(training=items, evaluation=items, num_train_epochs=1)
    for run in (trainer.train, trainer.evaluate):
        with pytest.raises(ValueError, match=r"^item 1: `labels` must be 0 to 3, the classes of `id2label`, .* got 9"):
            run()


def test_pairs_of_other_sizes() -> None:
    with pytest.raises(ValueError, match="'visible_values' must have one size to form batches, got 4 x 3 and 4 x 4"):
        collate([{"visible_values": torch.zeros(3, 4, width)} for width in (4, 3)])


def test_mixed_pairs() -> None:
    """The first half exchanges its infrared images and targets, and its labels are ignored."""
    numbers = torch.arange(5)
    batch = {name: numbers.clone() for name in ("visible_values", "infrared_values", "infrared_targets", "labels")}
    mixed = mix_pairs(batch, share=0.5, ignore_index=255)  # 2.5 pairs, halves to even
    assert mixed["visible_values"].tolist() == batch["infrared_values"].tolist() == [0, 1, 2, 3, 4]
    assert mixed["infrared_values"].tolist() == mixed["infrared_targets"].tolist() == [1, 0, 2, 3, 4]
    assert mixed["labels"].tolist() == [255, 255, 2, 3, 4]
    small = {"infrared_values": numbers, "labels": numbers.to(torch.uint8)}
    assert mix_pairs(small, 0.5, -100)["labels"].tolist() == [-100, -100, 2, 3, 4]
    assert mix_pairs(batch, 0.2, 255)["infrared_values"].tolist() == [1, 0, 2, 3, 4]  # one pair has no other
    assert mix_pairs(batch, 0, 255)["labels"].tolist() == [0, 1, 2, 3, 4]

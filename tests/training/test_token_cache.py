"""The token cache: CLIP sees a pair once, whatever else changes is noticed, and nothing else differs."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gffusion import FusionTrainer, GFFusionModel
from gffusion.data import FusionDataset
from gffusion.data.transforms import Compose, RandomCrop, RandomFlip, Resize, ThermalGain
from gffusion.training.token_cache import CachedTokens, TokenCache


@pytest.fixture
def item(make_inputs: Callable[..., dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: value[0] for name, value in make_inputs(1).items()}


def batch_of(cache: TokenCache, *items: dict[str, Tensor]) -> dict[str, Any]:
    stacked = {name: torch.stack([item[name] for item in items]) for name in items[0]}
    keys = [cache.key(item) for item in items]
    return stacked | {"token_key": keys, "semantic_tokens": [cache.read(key) for key in keys]}


def count_encodings(model: GFFusionModel) -> list[int]:
    """A list that grows by the number of pairs whenever CLIP is asked."""
    pairs: list[int] = []
    model.clip.register_forward_pre_hook(lambda module, images: pairs.append(len(images[0]) // 2))
    return pairs


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


class TestTokenCache:
    def test_computes_once_what_the_model_computes(
        self, tiny_model: Callable, item: dict[str, Tensor], tmp_path: Path
    ) -> None:
        model = tiny_model()
        expected = model.encode_semantics(item["visible_values"][None], item["infrared_values"][None])
        cache, pairs = TokenCache(tmp_path / "made" / "here", model), count_encodings(model)
        first = cache.complete(batch_of(cache, item))
        again = TokenCache(tmp_path / "made" / "here", tiny_model()).complete(batch_of(cache, item))
        assert pairs == [1]
        assert torch.equal(first, again)  # the first epoch reads what the others will
        torch.testing.assert_close(first, expected, rtol=1e-3, atol=1e-3)
        assert first.dtype == torch.float32
        (path,) = files(tmp_path)
        assert path.stat().st_size < 2.2 * expected.numel() + 200  # float16

    def test_mixes_known_and_unknown_pairs(self, tiny_model: Callable, make_inputs: Callable, tmp_path: Path) -> None:
        model = tiny_model()
        inputs = make_inputs(3)
        items = [{name: value[number] for name, value in inputs.items()} for number in range(3)]
        cache, pairs = TokenCache(tmp_path, model), count_encodings(model)
        cache.complete(batch_of(cache, items[1]))
        tokens = cache.complete(batch_of(cache, *items))
        assert pairs == [1, 2]
        torch.testing.assert_close(tokens, model.encode_semantics(**inputs), rtol=1e-3, atol=1e-3)

    @pytest.mark.parametrize("change", ["visible", "infrared", "shape"])
    def test_other_pixels_have_another_key(
        self, tiny_model: Callable, item: dict[str, Tensor], tmp_path: Path, change: str
    ) -> None:
        cache = TokenCache(tmp_path, tiny_model())
        other = {name: value.clone() for name, value in item.items()}
        if change == "shape":
            other = {name: value.reshape(len(value), 48, 40) for name, value in other.items()}
        else:
            other[f"{change}_values"][0, 3, 4] += 1e-6
        assert cache.key(other) != cache.key(item)
        labeled = item | {"labels": torch.ones(40, 48), "name": "x"}
        assert cache.key(labeled) == cache.key(item)

    @pytest.mark.parametrize("change", ["weight", "layers", "size", "precision", "dtype"])
    def test_other_encoder_finds_nothing(
        self, tiny_model: Callable, item: dict[str, Tensor], tmp_path: Path, change: str
    ) -> None:
        cache = TokenCache(tmp_path, tiny_model())
        cache.complete(batch_of(cache, item))
        options = {"layers": {"semantic_layers": [1, 3]}, "size": {"clip_image_size": [40, 40]}}
        model = tiny_model(**options.get(change, {}))
        if change == "weight":
            next(model.clip.parameters()).data.view(-1)[0] += 1e-3
        if change == "dtype":
            model.clip.bfloat16()
        other = TokenCache(tmp_path, model, "bf16" if change == "precision" else "no")
        assert cache.read(cache.key(item)) is not None
        assert other.read(other.key(item)) is None
        other.complete(batch_of(other, item))
        assert len(files(tmp_path)) == 2

    def test_other_weights_of_the_networks_find_the_same(
        self, tiny_model: Callable, item: dict[str, Tensor], tmp_path: Path
    ) -> None:
        cache = TokenCache(tmp_path, tiny_model())
        cache.complete(batch_of(cache, item))
        model = tiny_model(merging="mean")
        next(model.funet.parameters()).data += 1
        other = TokenCache(tmp_path, model)
        assert other.read(other.key(item)) is not None

    @pytest.mark.parametrize("damage", ["cut", "empty", "nonsense"])
    def test_damaged_file_is_computed_again(
        self, tiny_model: Callable, item: dict[str, Tensor], tmp_path: Path, damage: str
    ) -> None:
        model = tiny_model()
        cache = TokenCache(tmp_path, model)
        expected = cache.complete(batch_of(cache, item))
        (path,) = files(tmp_path)
        content = path.read_bytes()
        path.write_bytes({"cut": content[:-50], "empty": b"", "nonsense": b"x" * 500}[damage])
        assert torch.equal(cache.complete(batch_of(cache, item)), expected)
        assert path.read_bytes() == content

    def test_values_beyond_float16_stay(
        self, tiny_model: Callable, item: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = tiny_model()
        cache = TokenCache(tmp_path, model)
        large = model.encode_semantics(item["visible_values"][None], item["infrared_values"][None]) * 1e6
        monkeypatch.setattr(model, "encode_semantics", lambda *images: large)
        for _ in range(2):
            assert torch.equal(cache.complete(batch_of(cache, item)), large)

    def test_several_runs_may_write_at_once(
        self, tiny_model: Callable, item: dict[str, Tensor], tmp_path: Path
    ) -> None:
        """What another one has just written is written again, whole, and no part of it is ever seen."""
        cache = TokenCache(tmp_path, tiny_model())
        batch = batch_of(cache, item)
        expected = cache.complete(batch)
        key, seen = cache.key(item), []

        def write() -> None:
            for _ in range(50):
                cache.complete(batch)  # which says that the tokens are missing
                seen.append(cache.read(key))

        threads = [threading.Thread(target=write) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(seen) == 150
        assert all(tokens is not None and torch.equal(tokens.float()[None], expected) for tokens in seen)
        assert len(files(tmp_path)) == 1

    def test_full_disk_is_explained(
        self, tiny_model: Callable, item: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cache = TokenCache(tmp_path, tiny_model())

        def fail(*arguments: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("gffusion.training.token_cache.os.replace", fail)
        with pytest.raises(OSError, match=r"Cannot write to the token cache .*No space left.*omit `token_cache`"):
            cache.complete(batch_of(cache, item))
        assert not files(tmp_path)


class TestCachedTokens:
    @pytest.mark.parametrize(
        "transform", [RandomCrop(32), Compose([Resize(40), ThermalGain(0.2)]), lambda sample, rng: sample]
    )
    def test_transforms_that_never_come_again_are_refused(
        self, tiny_model: Callable, pairs: Path, tmp_path: Path, transform: Any
    ) -> None:
        with pytest.raises(ValueError, match="needs a transform with few different results"):
            CachedTokens(FusionDataset(pairs, transform), TokenCache(tmp_path, tiny_model()))

    @pytest.mark.parametrize("transform", [None, Resize(40), Compose([Resize(40), RandomFlip(0.5, 0.5)])])
    def test_others_are_not(self, tiny_model: Callable, pairs: Path, tmp_path: Path, transform: Any) -> None:
        cached = CachedTokens(FusionDataset(pairs, transform), TokenCache(tmp_path, tiny_model()))
        assert len(cached) == 4
        assert cached[3]["semantic_tokens"] is None
        assert cached[3]["labels"].shape == cached[3]["visible_values"].shape[1:]


class TestTraining:
    @pytest.fixture
    def make(self, make_trainer: Callable[..., FusionTrainer]) -> Callable[..., FusionTrainer]:
        def trainer(name: str, transform: Any = None, **options: Any) -> FusionTrainer:
            defaults = {"training": transform or Resize(32), "model": {"paradigm": "hybrid"}, "learning_rate": 1e-4}
            return make_trainer(name, **defaults | options)

        return trainer

    def losses(self, trainer: FusionTrainer) -> list[float]:
        return [record["loss"] for record in trainer.folder.read_log()]

    def test_losses_are_those_without(self, make: Callable[..., FusionTrainer], tmp_path: Path) -> None:
        plain, cached = make("plain"), make("cached", token_cache=str(tmp_path / "tokens"))
        for trainer in (plain, cached):
            trainer.train()
        assert self.losses(cached) == pytest.approx(self.losses(plain), rel=1e-3)
        assert len(files(tmp_path / "tokens")) == 4

    @pytest.mark.parametrize("dataloader_num_workers", [0, 1])
    def test_second_epoch_asks_clip_nothing(
        self, make: Callable[..., FusionTrainer], tmp_path: Path, dataloader_num_workers: int
    ) -> None:
        trainer = make("run", token_cache=str(tmp_path / "tokens"), dataloader_num_workers=dataloader_num_workers)
        pairs = count_encodings(trainer.model)
        trainer.train()
        assert sum(pairs) == 4
        again = make("again", token_cache=str(tmp_path / "tokens"))
        pairs = count_encodings(again.model)
        again.train()
        assert not pairs
        assert self.losses(again) == self.losses(trainer)

    def test_flipped_images_are_cached_separately(self, make: Callable[..., FusionTrainer], tmp_path: Path) -> None:
        flips = Compose([Resize(32), RandomFlip(0.5)])
        trainer = make("run", flips, token_cache=str(tmp_path / "tokens"), num_train_epochs=12, learning_rate=1e-5)
        pairs = count_encodings(trainer.model)
        trainer.train()
        assert sum(pairs) == len(files(tmp_path / "tokens")) == 8

    def test_resumed_run_cannot_start_to_round(self, make: Callable[..., FusionTrainer], tmp_path: Path) -> None:
        make("run", num_train_epochs=1).train()
        with pytest.raises(ValueError, match="tokens from a cache was False and is True"):
            make("run", num_train_epochs=2, token_cache=str(tmp_path / "tokens")).train(resume_from_checkpoint=True)

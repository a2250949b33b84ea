"""Checkpoints: what they hold, and what is left when one cannot be written or read."""

import errno
import itertools
import os
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from gffusion import FusionTrainer, GFFusionModel
from gffusion.training import checkpoints as checkpoints_module
from gffusion.training import run_folder as run_folder_module
from gffusion.training.checkpoints import CheckpointError, Checkpoints, recover_folder, replace_folder


@pytest.fixture
def setting(tiny_model: Callable[..., GFFusionModel], tmp_path: Path) -> tuple[Checkpoints, GFFusionModel, Any]:
    """Checkpoints of a model whose optimizer has a memory."""
    model = tiny_model()
    accelerator = Accelerator()
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    _wrapped, optimizer = accelerator.prepare(model, torch.optim.Adam(learned))
    for parameter in learned:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return Checkpoints(tmp_path / "checkpoints", accelerator, model), model, optimizer


def accept(state: dict[str, Any]) -> None:
    pass


class TestCheckpoints:
    def test_brings_everything_back(self, setting: Any) -> None:
        checkpoints, model, optimizer = setting
        weights = {name: value.clone() for name, value in model.state_dict().items()}
        moments = [state["exp_avg"].clone() for state in optimizer.state_dict()["state"].values()]
        checkpoints.save(7, {"progress": {"step": 7}})
        drawn = torch.rand(3), np.random.rand(3), random.random()
        learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for parameter in learned:
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer += 1
        assert checkpoints.load(accept) == {"progress": {"step": 7}}
        assert torch.equal(torch.rand(3), drawn[0])
        assert np.array_equal(np.random.rand(3), drawn[1])
        assert random.random() == drawn[2]
        assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
        restored = [state["exp_avg"] for state in optimizer.state_dict()["state"].values()]
        assert all(map(torch.equal, restored, moments))

    def test_only_the_newest_is_kept_and_encoders_are_left_out(self, setting: Any) -> None:
        checkpoints, model, _ = setting
        assert checkpoints.newest is None
        foreign = ["step-backup", ".step-notes", "step-7"]
        for name in foreign:
            (checkpoints.folder / name).mkdir(parents=True)
        for step in (9, 99_999_999, 100_000_000):
            checkpoints.save(step, {})
            assert checkpoints.newest == checkpoints.folder / f"step-{step:08d}"
        checkpoints.clear()
        checkpoints.save(100, {})
        for name in foreign:
            (checkpoints.folder / name).rmdir()
        assert [path.name for path in checkpoints.folder.iterdir()] == ["step-00000100"]
        assert checkpoints.newest == checkpoints.folder / "step-00000100"
        for left in ("step-00000050", ".step-00000200"):  # by a kill, or a disk that refused to delete it
            shutil.copytree(checkpoints.newest, checkpoints.folder / left)
        checkpoints.delete_unfinished()
        assert [path.name for path in checkpoints.folder.iterdir()] == ["step-00000100"]
        learned = sum(
            value.nbytes for name, value in model.state_dict().items() if not name.startswith(("clip", "din"))
        )
        assert sum(path.stat().st_size for path in checkpoints.newest.glob("*.safetensors")) < 1.1 * learned + 20_000

    @pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs permissions of POSIX")
    def test_a_folder_that_cannot_be_listed_is_not_empty(self, setting: Any) -> None:
        """As one of a container that ran as root: a run that is resumed must not start over and delete its weights."""
        with tempfile.TemporaryDirectory() as parent:
            checkpoints = Checkpoints(Path(parent, "checkpoints"), Accelerator(), setting[1])
            (checkpoints.folder / "step-00000100").mkdir(parents=True)
            Path(parent).chmod(0o755)
            checkpoints.folder.chmod(0)
            user = os.geteuid()
            try:
                if user == 0:  # who may list all folders
                    os.seteuid(65534)
                with pytest.raises(PermissionError):
                    _ = checkpoints.newest
            finally:
                os.seteuid(user)
                checkpoints.folder.chmod(0o700)

    @pytest.mark.parametrize("kind", ["NaN", "integer", "shape", "missing", "state"])
    def test_damaged(self, setting: Any, kind: str) -> None:
        checkpoints, _, _ = setting
        checkpoints.save(7, {})
        file = checkpoints.newest / "model.safetensors"
        weights = load_file(file)
        name = min(name for name, value in weights.items() if value.is_floating_point())
        value = weights.pop(name)
        changed = {"NaN": value * torch.nan, "integer": value.to(torch.int32), "shape": value[None]}
        save_file(
            {**weights, **({name: changed[kind]} if kind in changed else {name: value} if kind == "state" else {})},
            file,
        )
        if kind == "state":
            (checkpoints.newest / "state.json").write_text("[]")
        with pytest.raises(CheckpointError, match="must hold a JSON object" if kind == "state" else name):
            checkpoints.load(accept)

    def test_ended_worker_is_no_disk_error(self, setting: Any) -> None:
        """torch raises it wherever the trainer is, also in the middle of a checkpoint."""
        error = RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")
        with pytest.raises(RuntimeError) as raised, setting[0].explain_disk_errors("write"):
            raise error
        assert raised.value is error

    @pytest.mark.parametrize(
        ("place", "error"),
        [
            ("save_file", SafetensorError("I/O error: No space left on device (os error 28)")),
            ("torch.save", RuntimeError("PytorchStreamWriter failed writing file")),
            ("rename", OSError(errno.ENOSPC, "No space left on device")),
        ],
    )
    def test_full_disk_spares_the_one_before(
        self, setting: Any, monkeypatch: pytest.MonkeyPatch, place: str, error: Exception
    ) -> None:
        checkpoints, model, _ = setting
        checkpoints.save(1, {"step": 1})
        before = {name: value.clone() for name, value in model.state_dict().items()}

        def fail(*arguments: Any, **options: Any) -> None:
            raise error

        owner, name = {
            "save_file": (checkpoints_module, "save_file"),
            "torch.save": (torch, "save"),
            "rename": (checkpoints_module.os, "rename"),
        }[place]
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fail)
            with pytest.raises(CheckpointError, match="Cannot write the checkpoint of step 2") as raised:
                checkpoints.save(2, {"step": 2})
        assert f"last good checkpoint is {checkpoints.folder / 'step-00000001'};" in str(raised.value)
        assert [path.name for path in checkpoints.folder.iterdir()] == ["step-00000001"]
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fail)
            patch.setattr(checkpoints_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
            with pytest.raises(CheckpointError, match="the disk is full"):
                checkpoints.save(2, {"step": 2})
        next(model.funet.parameters()).data += 1
        assert checkpoints.load(accept) == {"step": 1}
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
        checkpoints.save(2, {"step": 2})
        assert [path.name for path in checkpoints.folder.iterdir()] == ["step-00000002"]

    @pytest.mark.parametrize("call", [0, 1])
    @pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])  # a kill, and a disk that fails
    def test_one_of_the_same_step_survives(
        self, setting: Any, monkeypatch: pytest.MonkeyPatch, call: int, error: type[BaseException]
    ) -> None:
        checkpoints, _, _ = setting
        checkpoints.save(1, {"version": 1})
        rename, calls = checkpoints_module.os.rename, itertools.count()

        def fail(*arguments: Any) -> None:
            if next(calls) == call:
                raise error
            rename(*arguments)

        with monkeypatch.context() as patch, pytest.raises(error):
            patch.setattr(checkpoints_module.os, "rename", fail)
            checkpoints.save(1, {"version": 2})
        if error is KeyboardInterrupt:
            checkpoints.recover()
        assert checkpoints.load(accept) == {"version": 1}
        checkpoints.save(1, {"version": 3})
        assert checkpoints.load(accept) == {"version": 3}
        assert [path.name for path in checkpoints.folder.iterdir()] == ["step-00000001"]

    @pytest.mark.parametrize("name", ["state.json", "model.safetensors", "optimizer.bin"])
    @pytest.mark.parametrize("damage", ["cut", "gone"])
    def test_damaged_checkpoint_is_named(self, setting: Any, name: str, damage: str) -> None:
        checkpoints, _, _ = setting
        checkpoints.save(3, {"step": 3})
        path = checkpoints.folder / "step-00000003" / name
        content = path.read_bytes()
        path.unlink()
        if damage == "cut":
            path.write_bytes(content[: len(content) // 2])
        with pytest.raises(CheckpointError, match=r"Cannot read the checkpoint .*step-00000003: .*Delete it"):
            checkpoints.load(accept)

    def test_none_to_load(self, setting: Any) -> None:
        with pytest.raises(CheckpointError, match="There is no checkpoint in"):
            setting[0].load(accept)

    def test_check_comes_before_any_change(self, setting: Any) -> None:
        checkpoints, model, _ = setting
        checkpoints.save(1, {"run": "a"})
        parameter = next(model.funet.parameters())
        parameter.data += 1
        kept = parameter.clone()

        def refuse(state: dict[str, Any]) -> None:
            raise ValueError(f"not {state['run']}")

        with pytest.raises(ValueError, match="not a"):
            checkpoints.load(refuse)
        assert torch.equal(parameter, kept)

    def test_of_another_model_is_not_called_damaged(
        self, setting: Any, tiny_model: Callable[..., GFFusionModel]
    ) -> None:
        checkpoints, model, _ = setting
        checkpoints.save(1, {})
        other = Checkpoints(checkpoints.folder, Accelerator(), tiny_model(paradigm="cascading"))
        with pytest.raises(CheckpointError, match=r"is intact, .* another model; only one side has finet") as error:
            other.load(accept)
        assert "Delete" not in str(error.value)
        accelerator = Accelerator()
        fewer = list(model.funet.parameters())
        accelerator.prepare(model, torch.optim.Adam(fewer))
        with pytest.raises(CheckpointError, match=r"is intact, but does not fit .* frozen parameters") as error:
            Checkpoints(checkpoints.folder, accelerator, model).load(accept)
        assert "Delete" not in str(error.value)

    @pytest.mark.parametrize(
        "error", [torch.OutOfMemoryError("CUDA out of memory."), OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))]
    )
    def test_a_lack_of_memory_says_nothing_about_the_checkpoint(
        self, setting: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        def fail(*_: Any) -> None:
            raise error

        checkpoints, _, _ = setting
        checkpoints.save(1, {})
        monkeypatch.setattr(checkpoints._accelerator, "load_state", fail)
        with pytest.raises(type(error)) as caught:
            checkpoints.load(accept)
        assert caught.value is error

    def test_of_a_compiled_model(self, setting: Any) -> None:
        checkpoints, model, _ = setting
        checkpoints.save(1, {})
        weights = {name: value.clone() for name, value in model.state_dict().items()}
        next(model.funet.parameters()).data += 1
        accelerator = Accelerator()
        accelerator.prepare(torch.optim.Adam([value for value in model.parameters() if value.requires_grad]))
        Checkpoints(checkpoints.folder, accelerator, torch.compile(model)).load(accept)
        assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


class TestReplaceFolder:
    def test_takes_the_place_and_keeps_what_is_not_replaced(self, tmp_path: Path) -> None:
        for content in ("old", "new"):
            (tmp_path / "fresh").mkdir()
            (tmp_path / "fresh" / "weights").write_text(content)
            replace_folder(tmp_path / "fresh", tmp_path / "final")
            if content == "old":
                (tmp_path / "final" / "mine").mkdir()
                (tmp_path / "final" / "mine" / "notes").touch()
        files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
        assert files == ["final", "final/mine", "final/mine/notes", "final/weights"]
        assert (tmp_path / "final" / "weights").read_text() == "new"

    @pytest.mark.parametrize(("call", "found"), [(2, ["fresh/new", "final/old"]), (3, ["final/new", "final/old"])])
    def test_recovers(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int, found: list[str]) -> None:
        """After a kill between the two renames, or before what the new one lacks is moved."""
        for name in ("final/old", "fresh/new"):
            (tmp_path / name).parent.mkdir()
            (tmp_path / name).touch()
        rename, calls = checkpoints_module.os.rename, []

        def killed(*arguments: Any) -> None:
            calls.append(arguments)
            if len(calls) == call:
                raise KeyboardInterrupt
            rename(*arguments)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(checkpoints_module.os, "rename", killed)
            replace_folder(tmp_path / "fresh", tmp_path / "final")
        assert not (tmp_path / "final" / "old").exists()
        for _ in range(2):  # the second time, there is nothing to mend
            recover_folder(tmp_path / "final")
            files = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
            assert sorted(files) == sorted(found)


def read_results(trainer: FusionTrainer) -> dict[str, Any]:
    """Return the weights and the log of a run."""
    weights = {name: (trainer.output_dir / name / "model.safetensors").read_bytes() for name in ("best", "last")}
    return {"log": trainer.folder.read_log(), **weights}


class TestFullDiskInARun:
    """Whatever is written: the run stops, names the last good checkpoint, and goes on from it."""

    @pytest.fixture(scope="class")
    def expected(self) -> dict[str, Any]:
        """Weights and log of an undisturbed run, which the first test fills in."""
        return {}

    @pytest.mark.parametrize("part", ["weights", "log", "image", "checkpoint"])
    def test_stops_and_goes_on(
        self,
        make_trainer: Callable[..., FusionTrainer],
        monkeypatch: pytest.MonkeyPatch,
        expected: dict[str, Any],
        part: str,
    ) -> None:
        def make(name: str) -> FusionTrainer:
            return make_trainer(name, evaluation=True, eval_metrics=[], num_eval_images=1)

        full = OSError(errno.ENOSPC, "No space left on device")
        stopped = make("run")
        owner, name, error = {
            "weights": (stopped.model, "save_pretrained", SafetensorError("I/O error: No space left on device")),
            "log": (stopped.folder, "append_log", full),
            "image": (run_folder_module, "write_image", full),
            "checkpoint": (torch, "save", RuntimeError("unexpected pos 128 vs 64")),
        }[part]
        write = getattr(owner, name)

        def fail_in_the_second_epoch(*arguments: Any, **options: Any) -> Any:
            if stopped.progress.step == 4:
                raise error
            return write(*arguments, **options)

        good = 4 if part == "weights" else 2  # weights are written after the checkpoint
        message = rf"step 4.* The last good checkpoint is .*step-0000000{good}; `resume_from_checkpoint` continues"
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fail_in_the_second_epoch)
            with pytest.raises(OSError, match=message):
                stopped.train()
        assert make("run").train(resume_from_checkpoint=True) is not None
        if not expected:
            whole = make("whole")
            whole.train()
            expected |= read_results(whole)
        assert read_results(stopped) == expected


@pytest.mark.parametrize("progress", [None, {"step": 1}])
def test_state_of_a_run_that_is_not_complete_or_of_another_step(setting: Any, progress: Any) -> None:
    checkpoints, _, _ = setting
    checkpoints.save(
        2, {"run": {"model": {}}, "num_train_epochs": 3, "running_statistics": False, "progress": progress}
    )
    with pytest.raises(CheckpointError, match=r"Cannot read the checkpoint .*step-00000002: .* Delete it"):
        checkpoints.load(checkpoints.read_progress)

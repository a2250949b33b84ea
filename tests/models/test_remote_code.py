"""Checkpoints with remote code load without gffusion."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor, AutoModel
from without_gffusion import WITHOUT_GFFUSION

from gffusion import GFFusionConfig, GFFusionImageProcessor, GFFusionModel

RunScript = Callable[..., subprocess.CompletedProcess[str]]

LOAD = (
    WITHOUT_GFFUSION
    + """
import contextlib
from pathlib import Path

with contextlib.suppress(ModuleNotFoundError):
    import gffusion
assert "gffusion" not in sys.modules

import numpy as np
import torch
from transformers import AutoImageProcessor, AutoModel

target = Path(sys.argv[1])
expected = np.load(target / "expected.npz")
pair = expected["visible"], expected["infrared"]

def check(folder):
    model = AutoModel.from_pretrained(folder, trust_remote_code=True)
    processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=True)
    for part in (model, processor):
        assert type(part).__module__.startswith("transformers_modules."), type(part)
    assert not model.training and not any(p.requires_grad for p in model.clip.parameters())
    with torch.no_grad():
        outputs = model(**processor(pair, return_tensors="pt"), segment=True)
    (fused,) = processor.post_process_fusion(outputs, pair, "np")
    np.testing.assert_allclose(fused, expected["fused"], atol=1e-5)
    np.testing.assert_allclose(outputs.logits, expected["logits"], atol=1e-4)
    return model, processor

check(target / "full")
for part in check(target / "slim"):
    part.save_pretrained(target / "again")
check(target / "again")
"""
)


@pytest.fixture(scope="module")
def folders(tiny_model: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the checkpoints "slim" and "full", both with code, and with their outputs for a pair."""
    target = tmp_path_factory.mktemp("remote")
    model, processor = tiny_model().eval(), GFFusionImageProcessor(size_divisor=8)
    with pytest.MonkeyPatch.context() as patch:
        for part in (GFFusionConfig, GFFusionModel, GFFusionImageProcessor):
            patch.setattr(part, "_auto_class", None)  # removes the registration afterwards
            part.register_for_auto_class()
        for name, include_backbones in (("slim", False), ("full", True)):
            model.save_pretrained(target / name, include_backbones=include_backbones)
            processor.save_pretrained(target / name)
    ramp = np.linspace(0, 1, 36 * 45).reshape(36, 45)
    pair = np.stack([ramp, ramp**2, 1 - ramp], axis=-1), np.sin(9 * ramp) ** 2
    with torch.no_grad():
        outputs = model(**processor(pair, return_tensors="pt"), segment=True)
    (fused,) = processor.post_process_fusion(outputs, pair, "np")
    np.savez(target / "expected.npz", visible=pair[0], infrared=pair[1], fused=fused, logits=outputs.logits)
    return target


def test_slim_checkpoints_are_small(folders: Path) -> None:
    weights = [(folders / name / "model.safetensors").stat().st_size for name in ("slim", "full")]
    assert weights[0] < weights[1] / 2


def test_loads_without_gffusion(folders: Path, fork_script: RunScript, tmp_path: Path) -> None:
    result = fork_script(LOAD, folders, environment={"HF_HOME": str(tmp_path / "hub")}, folder=tmp_path)
    assert result.returncode == 0, result.stderr


def test_installed_code_goes_first(folders: Path) -> None:
    """With gffusion installed, remote code need not be trusted."""
    for name in ("slim", "full"):
        assert type(AutoModel.from_pretrained(folders / name)) is GFFusionModel
        assert type(AutoImageProcessor.from_pretrained(folders / name)) is GFFusionImageProcessor

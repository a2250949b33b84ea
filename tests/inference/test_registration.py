"""Effects of importing gffusion, most of them tested in a new process."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import pipeline

from gffusion import GFFusionImageProcessor, GFFusionModel, create_model, load_image_processor, locate

RunScript = Callable[..., subprocess.CompletedProcess[str]]

CHECK = """
import sys
import numpy as np
from transformers import AutoConfig, AutoImageProcessor, AutoModel, pipeline
import gffusion

folder = sys.argv[1]
assert type(AutoConfig.from_pretrained(folder)) is gffusion.GFFusionConfig
assert type(AutoModel.from_pretrained(folder)) is gffusion.GFFusionModel
assert type(pipeline("image-fusion", model=folder)) is gffusion.ImageFusionPipeline
processor = AutoImageProcessor.from_pretrained(folder)
assert type(processor) is gffusion.GFFusionImageProcessor
pair = np.zeros((40, 50, 3), np.uint8), np.zeros((40, 50), np.uint8)
assert processor(pair, return_tensors="pt")["visible_values"].shape == (1, 3, 48, 64)
assert [type(finder).__module__ for finder in sys.meta_path].count("gffusion.inference.registration") == 1
"""

IMPORTS = {
    "public_names": """
import gffusion
names = dir(gffusion)
assert {"GFFusionConfig", "GFFusionModel", "GFFusionImageProcessor", "ImageFusionPipeline", "__version__"} <= set(names)
for name in names:
    assert getattr(gffusion, name) is not None
    if not name.startswith("_") and isinstance(getattr(gffusion, name), type):
        assert getattr(gffusion, name).__name__ == name
from gffusion import *
assert GFFusionModel is gffusion.GFFusionModel
try:
    gffusion.GFFusionModell
except AttributeError as error:
    assert str(error) == "module 'gffusion' has no attribute 'GFFusionModell'"
else:
    raise AssertionError("no AttributeError")
""",
    "auto_classes_one_by_one_without_torchvision": """
import sys
sys.modules["torchvision"] = None
import gffusion
folder = sys.argv[1]
from transformers import AutoConfig
assert AutoConfig.from_pretrained(folder).model_type == "gffusion"
from transformers import AutoImageProcessor
assert type(AutoImageProcessor.from_pretrained(folder)).__name__ == "GFFusionImageProcessor"
from transformers import AutoModel
assert type(AutoModel.from_pretrained(folder)).__name__ == "GFFusionModel"
assert "transformers.pipelines" not in sys.modules  # pipelines are imported only if used
""",
    "transformers_first": "from transformers import AutoConfig, AutoModel, AutoImageProcessor, pipeline",
    "trainer_first": "from transformers import Trainer",
    "configuration_first": "from gffusion.models.gffusion.configuration_gffusion import GFFusionConfig",
    "model_first": "from gffusion import GFFusionModel",
    "watched_modules_stay_ordinary": """
import gffusion
from transformers import pipeline
import copy, importlib, importlib.resources, inspect, pkgutil
import transformers.models
import transformers.models.auto.configuration_auto as configuration_auto
import transformers.models.auto.modeling_auto as modeling_auto
import transformers.models.clip.modeling_clip as modeling_clip
import transformers.pipelines.base as base

for module in (configuration_auto, modeling_auto, modeling_clip, base):
    with open(module.__file__, encoding="utf-8") as file:
        assert inspect.getsource(module) == module.__loader__.get_source(module.__name__) == file.read()
    assert inspect.getfile(module) == module.__spec__.origin == importlib.util.find_spec(module.__name__).origin
    assert copy.deepcopy(module.__spec__).name == module.__name__
assert inspect.getsource(modeling_clip.CLIPVisionModel).startswith("@auto_docstring")
assert pkgutil.get_data("transformers.models.clip", "modeling_clip.py").startswith(b"# Copyright")
assert importlib.resources.files("transformers.models.clip").joinpath("modeling_clip.py").is_file()
assert {"clip", "dinov2"} <= {name for _, name, _ in pkgutil.iter_modules(transformers.models.__path__)}
for module in (modeling_clip, base, gffusion):
    assert importlib.reload(module) is module
""",
}


@pytest.fixture(scope="module")
def checkpoint(tiny_model: Callable[..., GFFusionModel], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model without encoders."""
    folder = tmp_path_factory.mktemp("checkpoint")
    tiny_model(paradigm="cascading", use_segmenter=False).save_pretrained(folder)
    GFFusionImageProcessor(size_divisor=16).save_pretrained(folder)
    return folder


def test_importing_is_cheap(run_script: RunScript) -> None:
    result = run_script("""
import sys
before = set(sys.modules)
import gffusion
heavy = {"torch", "transformers", "numpy", "PIL", "scipy", "huggingface_hub", "accelerate", "torchmetrics"}
assert not heavy & (set(sys.modules) - before), heavy & set(sys.modules)
""")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("imports", IMPORTS)
def test_auto_classes_know_gffusion(checkpoint: Path, fork_script: RunScript, imports: str) -> None:
    result = fork_script(IMPORTS[imports] + CHECK, checkpoint)
    assert result.returncode == 0, result.stderr


def test_default_model() -> None:
    """The bundled one, without network."""
    fuse = pipeline("image-fusion")
    assert fuse.model.state_dict().keys() == create_model().state_dict().keys()
    assert fuse.model.name_or_path == locate("gffusion-tiny")
    assert fuse.image_processor.to_dict() == load_image_processor().to_dict()

"""What type checkers know of the package: lines of users that are right, and wrong ones, which must be reported."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAM = """
from typing import Any, assert_type

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from torch import Tensor

from gffusion import (
    GFFusionConfig,
    GFFusionModel,
    GFFusionOutput,
    ImageFusionPipeline,
    create_model,
    load_image_processor,
    predict,
)
from gffusion import GFFusionModell  # type: ignore[attr-defined]
from gffusion.data import FusionDatset  # type: ignore[attr-defined]
from gffusion.data import ImagePair, read_image, read_pair, write_image
from gffusion.export.running import OnnxModel
from gffusion.inference.files import FusionJob, fuse_files
from gffusion.video.fusing import fuse_video
from gffusion.video.jobs import VideoJob
from gffusion.video.stream import FusionStream

model, processor = create_model("gffusion-tiny"), load_image_processor("gffusion-tiny")
assert_type(model.to("cuda").half().cuda().float().eval(), GFFusionModel)
assert_type(model.config, GFFusionConfig)
print(model.config.id2label[0].upper(), model.config.semantic_layers[0])
GFFusionConfig(semantic_layers=None, clip_config={"patch_size": 16}, id2label=None)

pair = read_image("visible.png"), read_image("infrared.png")
inputs: dict[str, Tensor] = dict(processor(pair, return_tensors="pt"))
processor.preprocess(3)  # type: ignore[arg-type]
processor(3)  # type: ignore[arg-type]
outputs = model(**inputs)
assert_type(outputs, GFFusionOutput)
outputs.loss.backward()
model(visible_value=pair)  # type: ignore[call-arg]
model.forward(inputs["visible_values"], inputs["infrared_values"], return_dict=False)[0]
assert_type(processor.post_process_fusion(outputs, pair), list[PIL.Image.Image])
assert_type(processor.post_process_fusion(outputs, [pair], "np"), list[NDArray[Any]])
assert_type(processor.post_process_fusion(outputs, [pair], output_type="pt"), list[Tensor])


class Brighter(GFFusionModel):
    def forward(self, *args: Any, strength: float = 0.5, **kwargs: Any) -> GFFusionOutput:
        outputs = super().forward(*args, **kwargs)
        if outputs.loss is not None:
            outputs.loss = outputs.loss + strength * (1 - outputs.fused_values).mean()
        return outputs


Brighter(model.config)(**inputs, strength=1)
exported = OnnxModel("model.onnx")
for runner in (model, exported):
    for prediction in predict(runner, processor, [pair, [*pair], read_pair("visible.png", "infrared.png")], segment=True):
        write_image("labels.png", prediction.labels)
        print(np.unique(prediction.labels), (prediction.labels == 1).mean())
predict(exported, exported.load_image_processor(), zip([pair[0]], [pair[1]]))
predict(model, processor, [("visible.png", "infrared.png")])  # type: ignore[list-item]
predict(model, processor, [(*pair, None)])  # type: ignore[list-item]
predict("gffusion-tiny", processor, [pair])  # type: ignore[arg-type]
predict(model, processor, [pair], segmnt=True)  # type: ignore[call-arg]

job = FusionJob(ImagePair("name", "visible.png", "infrared.png"), "fused.png", labels="labels.png")
print(job.fused.name, job.pair.visible.name)
FusionJob("visible.png", "infrared.png", "fused.png")  # type: ignore[arg-type]
for result in fuse_files([job], exported, processor):
    print(result.error)
fuse_video(VideoJob("visible.mp4", "infrared.mp4", "fused.mp4"), exported, processor)
FusionStream(exported, processor).push(*pair)

fuse = ImageFusionPipeline(model=model, image_processor=processor)
assert_type(fuse("visible.png", "infrared.png", segment=False), PIL.Image.Image)
assert_type(fuse("visible.png", "infrared.png", segment=True, timeout=5), dict[str, PIL.Image.Image])
assert_type(fuse("visible.png", "infrared.png"), Any)  # the pipeline may be made with `segment=True`
assert_type(fuse("visible.png", "infrared.png", segment=bool(fuse)), Any)
fuse([("visible.png", "infrared.png")], segment=True, batch_size=2)[0]["fused"].save("fused.png")
fuse("FLIR.jpg", segment=False).save("fused.png")
"""
# Following transformers takes a minute. Without it, mypy finds errors in the package that are none.
SETTINGS = """
[mypy]
mypy_path = {root}
strict = True

[mypy-gffusion.*]
ignore_errors = True

[mypy-scipy.*,skimage.*,transformers.*]
follow_imports = skip
"""


@pytest.mark.slow
@pytest.mark.processes
def test_programs_of_users(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "mypy.ini").write_text(SETTINGS.format(root=ROOT))
    done = subprocess.run([sys.executable, "-m", "mypy", "program.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout

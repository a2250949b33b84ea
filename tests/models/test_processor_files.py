"""Files of GFFusionImageProcessor: saving, loading with other options, and refused ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoImageProcessor, AutoProcessor

from gffusion import GFFusionImageProcessor
from gffusion.models.gffusion.infrared_options import InfraredOptions


class TestFiles:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"infrared_range": [27315, 31315], "invert": True, "agc": "clahe"},
            {"infrared_range": "folder", "agc": "plateau", "plateau_limit": 0.5},
            {"infrared_range": "percentile", "smooth_range": 12.5},
        ],
    )
    def test_round_trip(self, tmp_path: Path, options: dict[str, Any]) -> None:
        processor = GFFusionImageProcessor(size_divisor=8, **options)
        processor.save_pretrained(tmp_path)
        for loader in (GFFusionImageProcessor, AutoImageProcessor):
            loaded = loader.from_pretrained(tmp_path)
            assert type(loaded) is GFFusionImageProcessor
            assert (loaded.size_divisor, loaded.infrared_options) == (8, processor.infrared_options)
            assert loaded.to_dict() == processor.to_dict()

    @pytest.mark.parametrize("loader", [GFFusionImageProcessor, AutoImageProcessor])
    def test_overrides(self, tmp_path: Path, caplog: pytest.LogCaptureFixture, loader: Any) -> None:
        """They are checked, as are those of the constructor; options that depend on a replaced one are reset."""
        GFFusionImageProcessor(size_divisor=8, agc="plateau", plateau_limit=0.5).save_pretrained(tmp_path)
        loaded = loader.from_pretrained(tmp_path, invert=True, agc="clahe", size_divisor=4, infrared_range=None)
        assert (loaded.size_divisor, loaded.infrared_options) == (4, InfraredOptions(invert=True, agc="clahe"))
        assert not caplog.text
        wrong = {"size_divisor": 0, "agc": "loud", "infrared_range": [5, 5], "infrared_rage": "percentile"}
        for name, value in wrong.items():
            with pytest.raises(ValueError, match=name):
                loader.from_pretrained(tmp_path, **{name: value})

    @pytest.mark.parametrize("loader", [GFFusionImageProcessor, AutoImageProcessor, AutoProcessor])
    def test_arguments_that_are_no_options(self, tmp_path: Path, loader: Any) -> None:
        """Those of the loaders, and of the model that the same call loads, are allowed; others are returned on request."""
        GFFusionImageProcessor(size_divisor=8).save_pretrained(tmp_path)
        of_loaders = {"trust_remote_code": False, "use_fast": False, "code_revision": "main", "local_files_only": True}
        of_loaders |= {"device_map": "cpu", "processor_class": None}
        assert loader.from_pretrained(tmp_path, **of_loaders).size_divisor == 8
        processor, unused = loader.from_pretrained(tmp_path, infrared_rage="type", return_unused_kwargs=True)
        assert (processor.size_divisor, unused["infrared_rage"]) == (8, "type")
        of_model = {"attn_implementation": "eager", "invert": True}
        assert loader.from_pretrained(tmp_path, _from_pipeline="image-fusion", **of_model).invert

    @pytest.mark.parametrize(
        ("name", "value"), [("size_divisor", -1), ("size_divisor", 32.0), ("plateau_limit", 2), ("my_note", 1)]
    )
    def test_attributes_that_could_not_be_loaded(self, tmp_path: Path, name: str, value: Any) -> None:
        processor = GFFusionImageProcessor()
        setattr(processor, name, value)
        with pytest.raises(ValueError, match=name):
            processor.save_pretrained(tmp_path)

    def test_attributes_of_numpy(self, tmp_path: Path) -> None:
        processor = GFFusionImageProcessor()
        processor.size_divisor = np.int64(32)  # type: ignore[assignment]
        processor.save_pretrained(tmp_path)
        assert GFFusionImageProcessor.from_pretrained(tmp_path).size_divisor == 32

    def test_other_processors_are_refused(self, tmp_path: Path) -> None:
        """Their file says nothing of the range of infrared values."""
        (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "CLIPImageProcessor"}))
        with pytest.raises(ValueError, match="`image_processor_type` is 'CLIPImageProcessor'"):
            GFFusionImageProcessor.from_pretrained(tmp_path)

    def test_files_with_code_and_without_options(self, tmp_path: Path) -> None:
        saved = {"image_processor_type": "GFFusionImageProcessor", "infrared_range": "type", "size_divisor": 1}
        saved["auto_map"] = {"AutoImageProcessor": "evil/net--processing.Processor"}
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(saved))
        loaded = GFFusionImageProcessor.from_pretrained(tmp_path)
        assert loaded.infrared_options == InfraredOptions("type") and not hasattr(loaded, "auto_map")

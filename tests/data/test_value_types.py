"""Infrared images whose values have another type than the others."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from camera_files import encode, flir_jpeg, render_pair, to_counts, write

from gffusion.data import ReadOptions
from gffusion.data.value_types import check_same_types, find_odd_types

_, INFRARED = render_pair()
COUNTS = to_counts(INFRARED)
THERMAL = (250 * INFRARED).astype(np.uint8)
OPTIONS = ReadOptions()


def test_odd_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setattr("gffusion.utils.progress.SECONDS", 0)
    files = [write(tmp_path / f"{i}.png", encode(COUNTS, "PNG")) for i in range(3)]
    assert find_odd_types(files, OPTIONS) == {}
    assert "Reading headers: 3 of 3" in capsys.readouterr().err  # of 100,000 files, this takes minutes
    contents = {
        "8-bit": encode(THERMAL, "PNG"),
        "radiometric": flir_jpeg(COUNTS, None),
        "floating-point": encode(INFRARED.astype(np.float32), "TIFF"),
    }
    for kind, content in contents.items():
        odd = write(tmp_path / "odd.png", content)
        assert list(find_odd_types([*files, odd], OPTIONS)) == [odd]
        assert f"holds {kind} values, but 3 of 4 images hold 16-bit" in find_odd_types([*files, odd], OPTIONS)[odd]
    with pytest.raises(ValueError, match=r"3 of 4 .*Convert it.* \(1 more files\)"):
        (tmp_path / "f").mkdir()
        others = [write(tmp_path / "f" / f"{i}.png", encode(THERMAL if i else COUNTS, "PNG")) for i in range(3)]
        check_same_types([*files, odd, *others])
    check_same_types([*files, *others[1:]])  # every folder has its own type
    tifffile.imwrite(tmp_path / "signed.tif", COUNTS.astype(np.int16))
    assert "signed 16-bit" in find_odd_types([*files, tmp_path / "signed.tif"], OPTIONS)[tmp_path / "signed.tif"]
    tifffile.imwrite(tmp_path / "same.tif", COUNTS, compression="lzw")
    assert find_odd_types([*files, tmp_path / "same.tif", write(tmp_path / "none.png", b"")], OPTIONS) == {}

"""Times in names, against Python's own reading of dates, and matching against a search over all pairs."""

import random
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import ExifTags, Image

from gffusion.data.capture_times import match_times, read_exif_time, read_time

MOMENT = datetime(2026, 7, 1, 21, 30, 5, 250_000, UTC)


@pytest.mark.parametrize(
    "template",
    [
        "%Y%m%d_%H%M%S_{millis}",
        "%Y-%m-%dT%H-%M-%S.{millis}Z",
        "cam0 %Y.%m.%d - %Hh%Mm%S,25",
        "%Y%m%d%H%M%S{millis}",
        "IMG_%Y%m%d_%H%M%S_{millis}000_T",
        "{seconds}.{millis}",
        "thermal_{seconds}_{millis}000000",
        "{seconds}{millis}",
        "{seconds}{millis}000-left",
        "{seconds}{millis}000000",
    ],
)
def test_times_of_cameras(template: str) -> None:
    stem = MOMENT.strftime(template).format(seconds=int(MOMENT.timestamp()), millis=250)
    assert read_time(stem) == round(MOMENT.timestamp() * 1000) * 10**6


@pytest.mark.parametrize(
    "stem", ["frame_000123", "20261301_120000", "20260701", "20260701_120000_to_20260701_120100", "12345678901234567"]
)
def test_names_without_a_single_time(stem: str) -> None:
    assert read_time(stem) is None


@pytest.mark.parametrize("seed", range(5))
def test_pairs_are_nearest_to_each_other(seed: int) -> None:
    """Cameras of 25 and 9 frames per second, with lost frames and a clock that is 2 s late."""
    generator = random.Random(seed)
    times = [
        [start + number / rate for number in range(3 * rate) if generator.random() > 0.2]
        for rate, start in ((25, 0.0), (9, -2.003))
    ]
    visible, infrared = ([Path(f"{MOMENT.timestamp() + time:.6f}.png") for time in group] for group in times)
    generator.shuffle(infrared)
    match = match_times(visible, infrared, offset=2)
    expected = set()
    for first in times[0]:
        second = min(times[1], key=lambda time: abs(time + 2 - first))
        nearest = min(times[0], key=lambda time: abs(second + 2 - time))
        if nearest == first and abs(second + 2 - first) <= 0.02:
            expected.add((first, second))
    found = {tuple(round(float(file.stem) - MOMENT.timestamp(), 4) for file in pair[:2]) for pair in match.pairs}
    assert found == {(round(first, 4), round(second, 4)) for first, second in expected} and len(found) > 10
    assert match.tolerance == pytest.approx(0.02, abs=1e-6)
    assert len(match.pairs) + len(match.visible_only) == len(visible)
    assert len(match.pairs) + len(match.infrared_only) == len(infrared)
    for first, second, difference in match.pairs:
        assert difference == pytest.approx(float(second.stem) + 2 - float(first.stem), abs=1e-5)


def save_with_exif(file: Path, tags: dict[int, str], details: dict[int, str] | None = None) -> Path:
    exif = Image.Exif()
    exif.update(tags)
    if details:
        exif.get_ifd(ExifTags.IFD.Exif).update(details)
        exif[ExifTags.IFD.Exif] = details  # Pillow writes a further directory to TIFF files only if both are set
    Image.new("L", (8, 8)).save(file, exif=exif)
    return file


@pytest.mark.parametrize("suffix", ["jpg", "tiff", "png", "webp"])
def test_times_of_exif_data(tmp_path: Path, suffix: str) -> None:
    base, file = ExifTags.Base, tmp_path / f"IMG_0001.{suffix}"
    taken, changed = f"{MOMENT:%Y:%m:%d %H:%M:%S}", {base.DateTime: "2026:12:24 08:00:00"}
    for tags, details, fraction in (
        (changed, {base.DateTimeOriginal: taken, base.SubsecTimeOriginal: "25 "}, 250_000_000),
        (changed, {base.DateTimeOriginal: "0000:00:00 00:00:00", base.DateTimeDigitized: taken}, 0),
        ({base.DateTime: f"{taken}\0"}, {}, 0),
    ):
        time = read_exif_time(save_with_exif(file, tags, details))
        assert time == int(MOMENT.timestamp()) * 10**9 + fraction
    assert read_exif_time(save_with_exif(file, {base.Make: "camera"})) is None
    file.write_bytes(b"raw" * 99)
    assert read_exif_time(file) is None


def test_exif_times_replace_those_of_names(tmp_path: Path) -> None:
    visible = [
        save_with_exif(
            tmp_path / f"IMG_{number}.jpg",
            {ExifTags.Base.DateTime: f"{MOMENT + timedelta(seconds=9 * number):%Y:%m:%d %H:%M:%S}"},
        )
        for number in range(3)
    ]
    infrared = [Path(f"{MOMENT + timedelta(seconds=9 * number + 1):%Y%m%d_%H%M%S}.tiff") for number in range(3)]
    match = match_times(visible, infrared)
    assert match.pairs == tuple(zip(visible, infrared, (1.0,) * 3, strict=True))
    assert match.notes == ("the names of the visible images hold no times: times taken from their EXIF data",)
    with pytest.raises(ValueError, match="EXIF data are read only if no name"):
        match_times(visible, [*infrared, *visible])
    with pytest.raises(ValueError, match=r"IMG_0.jpg and .*copy.jpg have the same time"):
        match_times([*visible, shutil.copy(visible[0], tmp_path / "copy.jpg")], infrared)


def test_what_is_refused(tmp_path: Path) -> None:
    files = [Path(f"{MOMENT + timedelta(seconds=number):%Y%m%d_%H%M%S}.png") for number in range(3)]
    hour_later = [Path(f"{MOMENT + timedelta(seconds=3600 + number):%Y%m%d_%H%M%S}.tiff") for number in range(3)]
    with pytest.raises(ValueError, match=r"within 0.5 s .* \+3599.000 s away .*--time-offset"):
        match_times(files, hour_later)
    assert len(match_times(files, hour_later, offset=-3600).pairs) == 3
    with pytest.raises(ValueError, match=r"holds no time.*Its EXIF data hold none"):
        match_times(files, [save_with_exif(tmp_path / "frame_1.png", {})])
    with pytest.raises(FileNotFoundError):
        match_times(files, [Path("frame_1.png")])
    with pytest.raises(ValueError, match="have the same time"):
        match_times(files, [Path("a/20260701_213005.png"), Path("b/20260701-213005.png")])
    with pytest.raises(ValueError, match="--tolerance"):
        match_times(files[:1], hour_later[:1])
    for option in ({"tolerance": -1.0}, {"tolerance": float("nan")}, {"offset": float("inf")}):
        with pytest.raises(ValueError, match=f"`{next(iter(option))}`"):
            match_times(files, files, **option)

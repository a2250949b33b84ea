"""`gffusion fuse` on files of cameras: alone, in folders, raw frames, thermal values that are kept, and notes."""

import json
import re
import shutil
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import tifffile
from camera_files import dji_jpeg, dlt664_jpeg, encode, flir_jpeg, render_pair, to_counts
from hostile_images import chunk

from gffusion.data import read_image

VISIBLE, INFRARED = render_pair()
COUNTS = to_counts(INFRARED)
THERMAL = (250 * INFRARED).astype(np.uint8)


@pytest.fixture
def files(cwd: Path) -> Path:
    contents = {
        "visible.png": encode(VISIBLE, "PNG"),
        "infrared.png": encode(THERMAL, "PNG"),
        "counts.png": encode(COUNTS, "PNG"),
        "00001D.png": encode(np.dstack([VISIBLE, THERMAL]), "PNG"),
        "FLIR0001.jpg": flir_jpeg(COUNTS, encode(VISIBLE, "PNG"), (96, 128), (1.0, 0, 0)),
        "frame.raw": COUNTS.astype(">u2").tobytes(),
    }
    for name, content in contents.items():
        (cwd / name).write_bytes(content)
    return cwd


def fuse(gffusion: Callable, *arguments: str) -> tuple[np.ndarray, str]:
    outcome = gffusion("fuse", *arguments, "-o", "out.png", "--overwrite")
    assert outcome.exit_code == 0, outcome.err
    return read_image("out.png"), outcome.err


def write_pairs(folder: Path, infrared: Mapping[str, np.ndarray]) -> None:
    """Write v/ and i/ with a pair of each name, of the size of the infrared image."""
    for name, image in infrared.items():
        for kind, values in (("v", VISIBLE[: len(image)]), ("i", image)):
            (folder / kind).mkdir(exist_ok=True)
            (folder / kind / f"{name}.png").write_bytes(encode(values, "PNG"))


def test_frames_that_show_nothing(gffusion: Callable, files: Path) -> None:
    """Dead ones fail; those of a closed shutter are fused, and named in notes."""
    frames = {"dead": np.zeros_like(COUNTS), "open": COUNTS}
    frames |= {f"shut_{value}": np.full_like(COUNTS, value) for value in (29315, 29420)}
    write_pairs(files, frames)
    words = "fuse", "v", "i", "-o", "out", "--infrared-range", "percentile"
    outcome = gffusion(*words)
    assert outcome.exit_code == 1 and "dead.png: the infrared image has no measured pixel" in outcome.err
    note = "all infrared values are 29315 to 29420, as behind a closed shutter: they show nothing of the scene"
    assert f"note: {note} (2 pairs: shut_29315, shut_29420)" in outcome.err
    report = json.loads(gffusion(*words, "--overwrite", "--json").out)
    assert list(report["errors"]) == ["dead"]
    assert (report["notes"], report["noted"]) == ({note: 2}, {note: ["shut_29315", "shut_29420"]})


@pytest.mark.parametrize("infrared_range", ["percentile", "folder", "7000,10000"])
def test_noise_behind_a_shutter_is_noted(gffusion: Callable, files: Path, infrared_range: str) -> None:
    """Also in the first image; neither a scene of a tenth of the contrast nor an image of another size."""
    noise = np.random.default_rng(0).integers(0, 4, COUNTS.shape).astype(np.uint16)
    scene = (7500 + 1500 * INFRARED).astype(np.uint16)
    frames = {"0_shut": 8000 + noise, **{f"{index}_open": scene + index for index in range(1, 5)}}
    frames |= {"5_fog": (8000 + 150 * INFRARED).astype(np.uint16), "6_shut": 8100 + noise}
    frames["7_other"] = (8000 + 15 * INFRARED[:48]).astype(np.uint16)
    write_pairs(files, frames)
    words = "fuse", "v", "i", "-o", "out", "--model", "gffusion-funet", "--infrared-range", infrared_range
    outcome = gffusion(*words, "--json", "--strict")
    report = json.loads(outcome.out)
    ((note, names),) = report["noted"].items()
    assert (outcome.exit_code, report["fused"], names) == (1, len(frames), ["0_shut", "6_shut"])
    assert "is below 3 % of the usual one" in note


def test_a_camera_of_less_contrast_is_not_noted(gffusion: Callable, files: Path) -> None:
    """In one run with another camera, which has a folder of its own."""
    rows = ["visible,infrared"]
    for index, (camera, span) in enumerate([("wide", 30000)] * 4 + [("narrow", 600)]):
        (files / camera).mkdir(exist_ok=True)
        for kind, image in (("visible", VISIBLE), ("infrared", (7500 + span * INFRARED).astype(np.uint16) + index)):
            (files / camera / f"{kind}_{index}.png").write_bytes(encode(image, "PNG"))
        rows.append(f"{camera}/visible_{index}.png,{camera}/infrared_{index}.png")
    (files / "pairs.csv").write_text("\n".join(rows))
    words = "fuse pairs.csv -o out --model gffusion-funet --infrared-range percentile --json"
    assert json.loads(gffusion(*words.split()).out)["noted"] == {}


def test_images_that_widen_the_range_of_all_are_noted(gffusion: Callable, files: Path) -> None:
    for index in range(4):
        for kind, image in (("visible", VISIBLE), ("infrared", COUNTS if index else COUNTS.byteswap())):
            (files / kind).mkdir(exist_ok=True)
            tifffile.imwrite(files / kind / f"{index}.tif", image)
    outcome = gffusion("fuse", "visible", "infrared", "-o", "out", "--infrared-range", "folder", "--json")
    report = json.loads(outcome.out)
    (note,) = [note for note in report["notes"] if "is far from that of" in note]
    assert (outcome.exit_code, report["noted"][note]) == (0, ["0"])


class TestOneFile:
    def test_four_channels(self, gffusion: Callable, files: Path) -> None:
        expected, silent = fuse(gffusion, "visible.png", "infrared.png")
        assert silent == ""
        for arguments in (("00001D.png",), ("00001D.png", "00001D.png"), ("00001D.png", "./00001D.png")):
            fused, notes = fuse(gffusion, *arguments)
            np.testing.assert_array_equal(fused, expected)
            assert notes == "note: the extra channel is the infrared image\n"

    def test_radiometric(self, gffusion: Callable, files: Path) -> None:
        """Counts fill too little of 16 bits: their percentiles are the default range."""
        expected, _ = fuse(gffusion, "visible.png", "counts.png", "--infrared-range", "percentile")
        fused, notes = fuse(gffusion, "FLIR0001.jpg")
        np.testing.assert_array_equal(fused, expected)
        assert "note: counts of FLIR E60 instead of its screen image" in notes

    def test_range_of_the_type(self, gffusion: Callable, files: Path) -> None:
        """Given on purpose, `type` holds for counts as for a plain file of them, and is refused for degrees."""
        for options in (("--infrared-range", "type"), ("--infrared-range", "0,65535")):
            expected, _ = fuse(gffusion, "visible.png", "counts.png", *options)
            np.testing.assert_array_equal(fuse(gffusion, "FLIR0001.jpg", *options)[0], expected)
        (files / "degrees.jpg").write_bytes(dlt664_jpeg((20 + 30 * INFRARED).astype(np.float32)))
        pair = ("fuse", "visible.png", "degrees.jpg", "-o", "degrees.png")
        assert gffusion(*pair).exit_code == 0
        outcome = gffusion(*pair, "--overwrite", "--infrared-range", "type")
        assert outcome.exit_code == 2
        assert re.search(r"must have values in \[0, 1\] .*got 20.* to 42.*--infrared-range percentile", outcome.err)

    def test_radiometric_without_tags(self, gffusion: Callable, files: Path) -> None:
        small = flir_jpeg(COUNTS[:48, :64].copy(), encode(VISIBLE, "JPEG"), (96, 128))
        (files / "small.jpg").write_bytes(small)
        outcome = gffusion("fuse", "small.jpg", "-o", "out.png")
        assert outcome.exit_code == 2 and "--align" in outcome.err
        assert "the visible image in small.jpg" in outcome.err and "the infrared image in small.jpg" in outcome.err


class TestOneFolder:
    def test_files_that_hold_both(self, gffusion: Callable, files: Path) -> None:
        outcome = gffusion("fuse", ".", "-o", "out")
        assert outcome.exit_code == 1 and "left out 1" in outcome.err
        # One file of 8 bits and one with counts: units of one folder must not differ.
        assert "the units differ" in outcome.err
        (files / "FLIR0001.jpg").unlink()
        assert gffusion("fuse", ".", "-o", "out", "--overwrite").exit_code == 0
        assert (files / "out/00001D.png").is_file()

    def test_notes_are_counted(self, gffusion: Callable, files: Path) -> None:
        (files / "both").mkdir()
        for number in range(3):
            (files / f"both/0000{number}N.png").write_bytes((files / "00001D.png").read_bytes())
        outcome = gffusion("fuse", "both", "-o", "out")
        assert (outcome.exit_code, outcome.err) == (0, "note: the extra channel is the infrared image (3 pairs)\n")


class TestRawFrames:
    def test_file_and_folder(self, gffusion: Callable, files: Path) -> None:
        options = ("--infrared-range", "percentile")
        expected, _ = fuse(gffusion, "visible.png", "counts.png", *options)
        fused, _ = fuse(gffusion, "visible.png", "frame.raw", *options, "--raw-frame", "96x128,>u2")
        np.testing.assert_array_equal(fused, expected)
        for kind, file in (("v", "visible.png"), ("i", "frame.raw")):
            (files / kind).mkdir()
            (files / file).rename(files / kind / f"1{Path(file).suffix}")
        assert gffusion("fuse", "v", "i", "-o", "out", *options, "--raw-frame", "96x128,>u2").exit_code == 0
        np.testing.assert_array_equal(read_image(files / "out/1.png"), expected)

    def test_evaluation(self, gffusion: Callable, files: Path) -> None:
        """Raw frames are measured as PNG files of the same values; with another format, they are left out."""
        tables = []
        for kind, file in (("v", "visible.png"), ("png", "counts.png"), ("raw", "frame.raw")):
            (files / kind).mkdir()
            for name in "12":
                shutil.copy(files / file, files / kind / f"{name}{Path(file).suffix}")
        options = ("--infrared-range", "percentile", "--metrics", "EN,SCD")
        for infrared, raw in (("png", ()), ("raw", ("--raw-frame", "96x128,>u2"))):
            words = ("evaluate", "--visible", "v", "--infrared", infrared, "-o", f"out_{infrared}", *options, *raw)
            assert gffusion(*words).exit_code == 0
            tables.append((files / f"out_{infrared}/per_image.csv").read_text())
        assert tables[0] == tables[1]
        outcome = gffusion("evaluate", "--visible", "v", "--infrared", "png", "-o", "out", "--raw-frame", "96x128,>u2")
        assert outcome.exit_code == 2 and "--raw-frame is for infrared files ending in .raw" in outcome.err


class TestKeepThermal:
    def test_sibling(self, gffusion: Callable, files: Path) -> None:
        fused, _ = fuse(gffusion, "visible.png", "counts.png", "--infrared-range", "percentile", "--keep-thermal")
        stored = tifffile.imread(files / "out_thermal.tif")
        assert stored.dtype == np.uint16
        np.testing.assert_array_equal(stored, COUNTS)
        assert fused.shape == VISIBLE.shape
        # An existing fused image without its thermal values is completed.
        (files / "out_thermal.tif").unlink()
        command = ("fuse", "visible.png", "counts.png", "-o", "out.png", "--keep-thermal")
        assert gffusion(*command).exit_code == 0 and (files / "out_thermal.tif").is_file()
        assert "nothing to do" in gffusion(*command).out

    def test_inputs_are_not_replaced(self, gffusion: Callable, files: Path) -> None:
        (files / "counts.png").rename(files / "out_thermal.tif")
        content = (files / "out_thermal.tif").read_bytes()
        outcome = gffusion("fuse", "visible.png", "out_thermal.tif", "-o", "out.png", "--keep-thermal", "--overwrite")
        assert outcome.exit_code == 2 and "would overwrite an input" in outcome.err
        assert (files / "out_thermal.tif").read_bytes() == content

    def test_second_page_in_degrees(self, gffusion: Callable, files: Path) -> None:
        assert gffusion("fuse", "FLIR0001.jpg", "-o", "out.tif", "--keep-thermal").exit_code == 0
        with tifffile.TiffFile(files / "out.tif") as tiff:
            assert len(tiff.pages) == 2
            degrees = tiff.pages[1].asarray()
        assert degrees.dtype == np.float32 and 0 < degrees.min() < degrees.max() < 120
        assert read_image(files / "out.tif").shape == VISIBLE.shape
        assert not list(files.glob("*_thermal*"))

    def test_counts_beside_degrees(self, gffusion: Callable, files: Path) -> None:
        """Radiometric files without a scale are named, but no ordinary files and no degrees."""
        infrared = {
            "dji": dji_jpeg(COUNTS, (192, 256)),
            "flir": flir_jpeg(COUNTS, None),
            "unscaled": flir_jpeg(COUNTS, None, r1=0.0),
        }
        write_pairs(files, dict.fromkeys(infrared, THERMAL))
        for name, content in infrared.items():
            (files / f"i/{name}.png").unlink()
            (files / f"i/{name}.jpg").write_bytes(content)
        note = "kept thermal values are counts: the file has no scale that turns them into degrees Celsius"
        for options, expected in ((("--keep-thermal",), ["dji", "unscaled"]), ((), None)):
            outcome = gffusion("fuse", "v", "i", "-o", "out", "--json", "--overwrite", *options)
            assert json.loads(outcome.out)["noted"].get(note) == expected
        (files / "celsius.jpg").write_bytes(dlt664_jpeg((20 + 30 * INFRARED).astype(np.float32)))
        for file in ("counts.png", "celsius.jpg"):
            assert "kept thermal" not in fuse(gffusion, "visible.png", file, "--keep-thermal")[1]

    def test_pixels_without_a_temperature(self, gffusion: Callable, files: Path) -> None:
        """Reflections of a hot surrounding, to which the camera was set, would give more counts than these."""
        write_pairs(files, {name: THERMAL for name in ("set", "unset")})
        for name, around in (("set", {}), ("unset", {"emissivity": 0.3, "reflected": 340.0})):
            (files / f"i/{name}.png").unlink()
            (files / f"i/{name}.jpg").write_bytes(flir_jpeg(COUNTS, None, **around))
        words = ("fuse", "v", "i", "-o", "out", "--json", "--overwrite")
        noted = json.loads(gffusion(*words, "--keep-thermal").out)["noted"]
        unknown = np.isnan(tifffile.imread(files / "out/unset_thermal.tif"))
        assert 0.05 < unknown.mean() < 0.95
        share = f"kept thermal values are NaN for {100 * unknown.mean():.2g} % of the pixels"
        assert [names for note, names in noted.items() if note.startswith(share)] == [["unset"]]
        assert not any("NaN" in note for note in json.loads(gffusion(*words).out)["noted"])


def test_range_of_a_folder_leaves_out_files_of_another_type(gffusion: Callable, files: Path) -> None:
    write_pairs(files, dict.fromkeys("012", COUNTS))
    arguments = ("fuse", "v", "i", "--infrared-range", "folder", "-o")
    assert gffusion(*arguments, "alone").exit_code == 0
    write_pairs(files, {"3": THERMAL})
    outcome = gffusion(*arguments, "out")
    assert outcome.exit_code == 1 and "i/3.png holds 8-bit values" in outcome.err
    np.testing.assert_array_equal(read_image("out/0.png"), read_image("alone/0.png"))


class TestFolders:
    def test_damaged_file_fails(self, gffusion: Callable, files: Path) -> None:
        (files / "in").mkdir()
        content = (files / "00001D.png").read_bytes()
        (files / "in/1D.png").write_bytes(content)
        (files / "in/2D.png").write_bytes(content[: len(content) // 2])
        outcome = gffusion("fuse", "in", "-o", "out")
        assert outcome.exit_code == 1 and "in/2D.png: the file is truncated" in outcome.err
        assert [path.name for path in (files / "out").iterdir()] == ["1D.png"]

    def test_images_that_decoders_reject_as_too_large(self, gffusion: Callable, files: Path) -> None:
        content = (files / "infrared.png").read_bytes()
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0))
        (files / "large.png").write_bytes(content[:8] + header + content[33:])
        outcome = gffusion("fuse", "visible.png", "large.png", "-o", "out.png")
        assert outcome.exit_code == 2 and "decompression bomb" in outcome.err

    @pytest.mark.parametrize("names", [("dji_0001_w", "dji_0001_z", "dji_0001_t"), ("DC_0002", "IR_0001")])
    def test_notes_on_names_in_one_folder(self, gffusion: Callable, files: Path, names: tuple[str, ...]) -> None:
        (files / "in").mkdir()
        for name in names:
            (files / f"in/{name}.png").write_bytes(encode(THERMAL if name == names[-1] else VISIBLE, "PNG"))
        outcome = gffusion("fuse", "in", "-o", "out")
        assert outcome.exit_code == 0 and "note: " in outcome.err
        assert [path.stem for path in (files / "out").iterdir()] == [names[0]]

    def test_two_pairs_with_one_output(self, gffusion: Callable, files: Path) -> None:
        (files / "in").mkdir()
        for kind in ("PNG", "TIFF"):
            (files / f"in/1.{kind.lower()}").write_bytes(encode(np.dstack([VISIBLE, THERMAL]), kind))
        outcome = gffusion("fuse", "in", "-o", "out", "--suffix", ".png")
        assert outcome.exit_code == 2 and "in/1.png and in/1.tiff would both be out/1.png" in outcome.err
        assert gffusion("fuse", "in", "-o", "out").exit_code == 0

    def test_output_named_as_a_file(self, gffusion: Callable, files: Path) -> None:
        write_pairs(files, {"1": THERMAL})
        outcome = gffusion("fuse", "v", "i", "-o", "fused.PNG")
        assert outcome.exit_code == 2 and "give a folder, such as -o fused; --suffix .png" in outcome.err
        (files / "fused.png").mkdir()
        assert gffusion("fuse", "v", "i", "-o", "fused.png").exit_code == 0

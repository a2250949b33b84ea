"""`gffusion masks`: label maps of a folder, skipped pairs and errors."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gffusion.cameras import Rig
from gffusion.data import FusionDataset

NAMES = [f"rendered_{number:04d}" for number in range(3)]


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.mode == "L"
        return np.asarray(image)


def replace_boxes(folder: Path, name: str, size: str = "") -> None:
    """Replace the box files by VOC files of one object, columns 20 to 60 and rows 30 to 90."""
    corners = "<xmin>21</xmin><ymin>31</ymin><xmax>60</xmax><ymax>90</ymax>"
    text = f"<annotation>{size}<object><name>{name}</name><bndbox>{corners}</bndbox></object></annotation>"
    for file in [*folder.iterdir()]:
        file.unlink()
        file.with_suffix(".xml").write_text(text)


def maps_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_threshold_finds_what_was_rendered(gffusion: Callable, data: Path, street: Path) -> None:
    outcome = gffusion("masks", data, "--method", "threshold")
    assert (outcome.exit_code, outcome.err) == (0, "")
    boxes = sum(len((data / "boxes" / f"{name}.txt").read_text().splitlines()) for name in NAMES)
    summary = rf"labeled 3 pairs in [\d.]+ s: {boxes} objects, (\d+) found, (\d+) with the fallback(, \d+ hidden .*)?"
    counts = re.fullmatch(rf"{summary} -> {re.escape(str(data))}/labels\n", outcome.out)
    assert counts is not None
    assert int(counts[1]) + int(counts[2]) == boxes
    assert maps_in(data / "labels") == [f"{name}.png" for name in NAMES]
    ours = np.stack([read(data / "labels" / f"{name}.png") for name in NAMES])
    truth = np.stack([read(street / "labels" / f"{name}.png") for name in NAMES])
    known = ours != 255
    assert known.mean() > 0.8
    assert (ours == truth)[known].mean() > 0.9
    assert set(np.unique(ours)) == {0, 1, 2, 3, 255}


def test_infrared_images_of_no_use_are_named(gffusion: Callable, data: Path) -> None:
    noise = np.random.default_rng(0).integers(90, 93, (160, 240)).astype(np.uint8)
    Image.fromarray(noise).save(data / "infrared" / f"{NAMES[0]}.png")
    shutil.copy(data / "infrared" / f"{NAMES[1]}.png", data / "infrared" / f"{NAMES[2]}.png")
    outcome = gffusion("masks", data, "--method", "threshold")
    frozen, narrow = outcome.err.splitlines()
    assert outcome.exit_code == 0 and len(maps_in(data / "labels")) == 3
    assert "the infrared image is that of the pair before" in frozen and frozen.endswith(f"(1 pair: {NAMES[2]})")
    assert "closed shutter" in narrow and narrow.endswith(f"(1 pair: {NAMES[0]})")


@pytest.mark.parametrize("encoder", ["dinov2", "clip"])
def test_pca_with_an_encoder(gffusion: Callable, data: Path, backbone_folders: dict[str, str], encoder: str) -> None:
    command = ("masks", data, "--encoder", backbone_folders[encoder], "--image-size", "160", "240")
    outcome = gffusion(*command, "-o", "first/labels")
    assert (outcome.exit_code, outcome.err) == (0, "")
    assert gffusion(*command, "-o", "second/labels").exit_code == 0
    for name in maps_in(Path("first/labels")):
        assert (Path("first/labels") / name).read_bytes() == (Path("second/labels") / name).read_bytes()
    assert gffusion(*command[:-3], "--source", "visible", "-o", "third/labels").exit_code == 0
    differing = [
        (read(Path("first/labels") / f"{n}.png") != read(Path("third/labels") / f"{n}.png")).any() for n in NAMES
    ]
    assert any(differing)


def test_options_of_label_maps(gffusion: Callable, data: Path) -> None:
    options = ("--method", "threshold", "--source", "infrared", "--no-ignore-doubtful", "--fallback", "box")
    assert gffusion("masks", data, *options).exit_code == 0
    assert not any((read(data / "labels" / f"{name}.png") == 255).any() for name in NAMES)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), None),
        (("--infrared-range", "300,400"), "--infrared-range changes"),
        (("--agc", "clahe", "--no-invert", "--smooth-range", "0"), "--no-invert, --agc and --smooth-range change"),
    ],
)
def test_visible_images_alone_need_no_infrared_range(
    gffusion: Callable, data: Path, options: tuple[str, ...], told: str | None
) -> None:
    """Label maps are the same, also beside infrared values that the default range does not map."""
    command = ("masks", data, "--method", "threshold", "--source", "visible")
    assert gffusion(*command, "-o", "before/labels").exit_code == 0
    for name in NAMES:
        file = data / "infrared" / f"{name}.png"
        Image.fromarray(read(file) + np.float32(20)).save(file.with_suffix(".tif"))
        file.unlink()
    outcome = gffusion(*command, *options, "-o", "after/labels")
    note = f"note: {told} only the --contact-sheet with --source visible\n" if told else ""
    assert (outcome.exit_code, outcome.err) == (0, note)
    for name in NAMES:
        before, after = (read(Path(folder, "labels", f"{name}.png")) for folder in ("before", "after"))
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("kind", ["kaist", "iscrowd", "ignore"])
def test_uncertain_boxes_are_not_background(gffusion: Callable, data: Path, kind: str) -> None:
    (data / "classes.txt").unlink()
    shutil.rmtree(data / "boxes")
    (data / "boxes").mkdir()
    for name in NAMES if kind == "kaist" else ():
        (data / "boxes" / f"{name}.txt").write_text("% bbGt version=3\nperson? 20 30 40 60 0 0 0 0 0 0 0\n")
    if kind != "kaist":
        images = [{"id": name, "file_name": f"{name}.png"} for name in NAMES]
        crowds = [{"image_id": name, "category_id": 1, "bbox": [20, 30, 40, 60], kind: 1} for name in NAMES]
        crowds[2] = {"image_id": NAMES[2], kind: 1, "segmentation": [[20, 30, 60, 30, 40, 90]]}
        crowds += [{"image_id": NAMES[0], kind: 1, "segmentation": {"counts": "PQ1", "size": [160, 240]}}] * 2
        content = {"images": images, "annotations": crowds, "categories": [{"id": 1, "name": "person"}]}
        (data / "boxes" / "all.json").write_text(json.dumps(content))
    outcome = gffusion("masks", data, "--method", "threshold", "--class-names", "person", "--no-ignore-doubtful")
    warning = "warning: no object was labeled: all boxes are marked as groups or doubtful objects, which become 255\n"
    note = r"note: left out 2 annotations of COCO files with iscrowd or ignore, but .* unless you export their boxes, too\n"
    assert outcome.exit_code == 0 and re.fullmatch((note if kind != "kaist" else "") + re.escape(warning), outcome.err)
    assert "0 objects, 0 found, 0 with the fallback; ignored 3 uncertain boxes -> " in outcome.out
    expected = np.zeros((160, 240), np.uint8)
    expected[30:90, 20:60] = 255
    np.testing.assert_array_equal(read(data / "labels" / f"{NAMES[2]}.png"), expected)


@pytest.mark.parametrize(("brushed", "message"), [(3, r"all boxes \(3\) are"), (2, "2 of 3 boxes are"), (0, None)])
def test_masks_drawn_with_the_brush_of_cvat(gffusion: Callable, data: Path, brushed: int, message: str | None) -> None:
    """They are marked as groups; polygons are single objects, and rectangles no outlines."""
    (data / "classes.txt").unlink()
    shutil.rmtree(data / "boxes")
    polygon, rectangle = [40, 30, 60, 90, 20, 90], [20, 30, 60, 30, 60, 90, 20, 90]
    brush = {"segmentation": {"counts": [4000, 100, 34300], "size": [160, 240]}, "iscrowd": 1}
    outlines = [{"segmentation": [polygon]}, {"segmentation": [rectangle]}, {}][: 3 - brushed] + [brush] * brushed
    box = {"category_id": 1, "bbox": [20, 30, 40, 60]}
    content = {
        "images": [{"id": name, "file_name": f"{name}.png"} for name in NAMES],
        "annotations": [{"image_id": name} | box | outline for name, outline in zip(NAMES, outlines, strict=True)],
        "categories": [{"id": 1, "name": "person"}],
    }
    (data / "all.json").write_text(json.dumps(content))
    outcome = gffusion("masks", data, "--method", "threshold")
    assert (outcome.exit_code, (data / "labels").exists()) == ((2, False) if brushed == 3 else (0, True))
    groups = re.findall(r"(.+) of groups with a mask .* CVAT writes iscrowd 1 for .*: set it to 0", outcome.err)
    assert len(groups) == (message is not None) and all(re.search(message or "", group) for group in groups)
    noted = f"note: 1 of {3 - brushed} boxes of COCO files have an outline of the object"
    assert (noted in outcome.err) == (brushed < 3)


def test_resumes(gffusion: Callable, data: Path) -> None:
    command = ("masks", data, "--method", "threshold")
    assert gffusion(*command).exit_code == 0
    made = (data / "labels" / f"{NAMES[1]}.png").read_bytes()
    (data / "labels" / f"{NAMES[1]}.png").write_bytes(b"")
    mine = data / "labels" / f"{NAMES[2]}.png"
    Image.new("L", (240, 160), 3).save(mine)
    outcome = gffusion(*command)
    assert "labeled 1 pair in" in outcome.out
    assert "skipped 2 that existed (method and options are not compared)" in outcome.out
    assert (data / "labels" / f"{NAMES[1]}.png").read_bytes() == made
    assert (read(mine) == 3).all()
    outcome = gffusion(*command)
    assert outcome.exit_code == 0 and outcome.out.startswith(
        "nothing to do: all 3 label maps exist (method and options are not compared); "
    )
    assert "labeled 3 pairs" in gffusion(*command, "--overwrite").out
    assert not (read(mine) == 3).all()


def test_label_maps_of_other_names_are_kept(gffusion: Callable, data: Path) -> None:
    """A dataset matches 1.png with 1_vis.png, which is the name of the pair."""
    for name in NAMES:
        (data / "visible" / f"{name}.png").rename(data / "visible" / f"{name}_vis.png")
        (data / "infrared" / f"{name}.png").rename(data / "infrared" / f"{name}_ir.png")
    mine = data / "labels" / f"{NAMES[0]}.png"
    mine.parent.mkdir()
    Image.new("L", (240, 160), 3).save(mine)
    assert "skipped 1 that existed" in gffusion("masks", data, "--method", "threshold").out
    assert (read(mine) == 3).all()
    assert maps_in(mine.parent) == [mine.name, f"{NAMES[1]}_vis.png", f"{NAMES[2]}_vis.png"]
    assert "labeled 3 pairs" in gffusion("masks", data, "--method", "threshold", "--overwrite").out
    assert len(maps_in(mine.parent)) == 3 and not (read(mine) == 3).all()


@pytest.mark.parametrize("kind", ["visible", "infrared"])
@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
def test_label_maps_do_not_replace_images(
    gffusion: Callable, data: Path, kind: str, overwrite: tuple[str, ...]
) -> None:
    before = {file: file.read_bytes() for file in data.rglob("*.png")}
    outcome = gffusion("masks", data, "--method", "threshold", "-o", data / kind, *overwrite)
    assert (outcome.exit_code, outcome.out) == (2, "") and f"{kind} is a folder of images, not of" in outcome.err
    assert {file: file.read_bytes() for file in data.rglob("*.png")} == before


@pytest.mark.parametrize("suffix", [".jpg", ".WEBP"])
@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
def test_label_maps_that_lose_classes(gffusion: Callable, data: Path, suffix: str, overwrite: tuple[str, ...]) -> None:
    (data / "labels").mkdir()
    for name in NAMES:
        Image.new("L", (240, 160)).save(data / "labels" / f"{name}{suffix}")
    outcome = gffusion("masks", data, "--method", "threshold", *overwrite)
    assert (outcome.exit_code, outcome.out) == (2, "")
    assert f"{NAMES[0]}{suffix} must end in one of .png, .tif, .tiff, .bmp" in outcome.err
    assert maps_in(data / "labels") == [f"{name}{suffix}" for name in NAMES]


def test_default_folder_is_a_file_or_boxes_are_missing(gffusion: Callable, data: Path) -> None:
    (data / "labels").write_text("mine")
    outcome = gffusion("masks", data, "--method", "threshold")
    assert (outcome.exit_code, outcome.out) == (2, "") and "data/labels is a file" in outcome.err
    (data / "labels").unlink()
    shutil.rmtree(data / "boxes")
    outcome = gffusion("masks", data, "--method", "threshold")
    assert outcome.exit_code == 2 and f"no pair of {data} has boxes" in outcome.err


def test_empty_and_missing_box_files(gffusion: Callable, data: Path) -> None:
    (data / "boxes" / f"{NAMES[0]}.txt").write_text("")
    (data / "boxes" / f"{NAMES[1]}.txt").unlink()
    outcome = gffusion("masks", data, "--method", "threshold")
    assert (outcome.exit_code, outcome.err) == (0, f"left out 1 without boxes: {NAMES[1]}\n")
    assert maps_in(data / "labels") == [f"{NAMES[0]}.png", f"{NAMES[2]}.png"]
    assert not read(data / "labels" / f"{NAMES[0]}.png").any()


def test_bad_pairs_are_reported_and_others_are_labeled(gffusion: Callable, data: Path) -> None:
    image = data / "visible" / f"{NAMES[0]}.png"
    image.write_bytes(image.read_bytes()[:500])
    (data / "boxes" / f"{NAMES[1]}.txt").write_text("0 12 30 4 4\n")
    outcome = gffusion("masks", data, "--method", "threshold")
    assert outcome.exit_code == 1
    assert "labeled 1 pair in" in outcome.out
    first, *rest = outcome.err.splitlines()
    assert first == "2 failed:"
    assert re.match(rf"  {NAMES[0]}: cannot read the image .*truncated", rest[0])
    assert re.match(rf"  {NAMES[1]}: .*line 1: YOLO coordinates must be relative", rest[1])
    assert maps_in(data / "labels") == [f"{NAMES[2]}.png"]


class TestClasses:
    def test_are_written_beside_the_maps(self, gffusion: Callable, data: Path) -> None:
        assert gffusion("masks", data, "--method", "threshold", "-o", "out/labels").exit_code == 0
        assert Path("out/classes.txt").read_text() == "person\nbicycle\ncar\n"
        assert maps_in(Path("out/labels")) == [f"{name}.png" for name in NAMES]

    def test_given_by_option(self, gffusion: Callable, data: Path) -> None:
        (data / "classes.txt").unlink()
        options = ("--method", "threshold", "--class-names", "man, mountain bike,car")
        assert gffusion("masks", data, *options).exit_code == 0
        assert (data / "classes.txt").read_text() == "man\nmountain bike\ncar\n"

    def test_must_agree_with_an_existing_list(self, gffusion: Callable, data: Path) -> None:
        for classes, message in (
            ("car,bicycle,person", "classes.txt lists other classes than car, bicycle, person"),
            ("person,person", "--class-names names 'person' twice"),
        ):
            outcome = gffusion("masks", data, "--method", "threshold", "--class-names", classes)
            assert (outcome.exit_code, outcome.out) == (2, "") and message in outcome.err
        assert not (data / "labels").exists()
        assert gffusion("masks", data, "--method", "threshold", "--class-names", "Person,BICYCLE,car").exit_code == 0

    @pytest.mark.parametrize(
        ("boxes", "names", "is_told"),
        [
            ("yolo", "car,bicycle,person", True),
            ("yolo", "person,bicycle,van", False),
            ("voc", "car,bicycle,person", False),
        ],
    )
    def test_in_another_order_than_listed(
        self, gffusion: Callable, data: Path, boxes: str, names: str, is_told: bool
    ) -> None:
        """Only numbers in YOLO files would become other classes."""
        if boxes == "voc":
            replace_boxes(data / "boxes", "car")
        # These maps hold numbers, but are not used.
        assert gffusion("masks", data, "--method", "threshold").exit_code == 0
        outcome = gffusion("masks", data, "--method", "threshold", "--class-names", names, "-o", "other/labels")
        assert outcome.exit_code == 0
        text = f"names the classes person, bicycle, car, but --class-names gives {names.replace(',', ', ')}: "
        assert (text in outcome.err) == is_told and ("warning: " in outcome.err) == is_told

    @pytest.mark.parametrize("output", [(), ("-o", "maps")])
    def test_of_other_maps_are_kept(self, gffusion: Callable, data: Path, output: tuple[str, ...]) -> None:
        """The error names a folder for maps with other classes."""
        command = ("masks", data, "--method", "threshold", "--overwrite")
        assert gffusion(*command, *output).exit_code == 0
        names = ("--class-names", "man,bike,van")
        outcome = gffusion(*command, *output, *names)
        advice = re.search(
            r"lists other .*: person, bicycle, car, .* another folder, such as (\S+/labels), or", outcome.err
        )
        assert outcome.exit_code == 2 and advice is not None
        assert gffusion(*command, "-o", advice[1], *names).exit_code == 0
        assert Path(advice[1]).with_name("classes.txt").read_text() == "man\nbike\nvan\n"

    def test_are_not_written_without_a_map(self, gffusion: Callable, data: Path) -> None:
        (data / "classes.txt").unlink()
        for name in NAMES:
            (data / "boxes" / f"{name}.txt").write_text("% bbGt version=3\nperson 20 30 40 60\n")
        outcome = gffusion("masks", data, "--method", "threshold", "--class-names", "car,bus")
        assert outcome.exit_code == 2 and "unknown class 'person'" in outcome.err
        assert not (data / "classes.txt").exists()
        assert gffusion("masks", data, "--method", "threshold", "--class-names", "car,person").exit_code == 0
        assert (data / "classes.txt").read_text() == "car\nperson\n"

    def test_of_yolo_need_no_names(self, gffusion: Callable, data: Path) -> None:
        (data / "classes.txt").unlink()
        outcome = gffusion("masks", data, "--method", "threshold")
        assert outcome.exit_code == 0
        assert re.fullmatch(
            f"note: .* have no names: .* --class-names A,B or in {data}/classes.txt, one .*\n", outcome.err
        )
        assert not (data / "classes.txt").exists()
        assert {1, 3} < set(np.unique([read(data / "labels" / f"{name}.png") for name in NAMES]))

    @pytest.mark.parametrize("is_typed", [True, False])
    def test_are_written_beside_finished_maps(self, gffusion: Callable, data: Path, is_typed: bool) -> None:
        """They do not change the maps."""
        (data / "classes.txt").unlink()
        command = ("masks", data, "--method", "threshold", "-o", "out/labels")
        assert gffusion(*command).exit_code == 0
        maps = [read(Path("out/labels") / f"{name}.png") for name in NAMES]
        if not is_typed:
            (data / "classes.txt").write_text("man\nbike\nvan\n")
        outcome = gffusion(*command, "--fallback", "box", *(("--class-names", "man,bike,van") if is_typed else ()))
        assert (outcome.exit_code, outcome.err) == (0, "")
        assert outcome.out.startswith("nothing to do: ") and outcome.out.endswith("class names -> out/classes.txt\n")
        assert Path("out/classes.txt").read_text() == "man\nbike\nvan\n"
        np.testing.assert_array_equal([read(Path("out/labels") / f"{name}.png") for name in NAMES], maps)
        outcome = gffusion(*command, "--class-names", "van,bike,man")
        assert outcome.exit_code == 0 and "out/classes.txt lists other classes than van, bike, man" in outcome.err
        assert Path("out/classes.txt").read_text() == "man\nbike\nvan\n"

    @pytest.mark.parametrize(
        ("boxes", "names", "reason"),
        [
            ("yolo", "man,bike", "holds 3, but there are 2 class names"),
            ("voc", "van,car", "may be numbered by another order"),
        ],
    )
    def test_that_do_not_fit_finished_maps(
        self, gffusion: Callable, data: Path, boxes: str, names: str, reason: str
    ) -> None:
        (data / "classes.txt").unlink()
        if boxes == "voc":
            replace_boxes(data / "boxes", "car")
        command = ("masks", data, "--method", "threshold")
        assert gffusion(*command, *(("--class-names", "car,van") if boxes == "voc" else ())).exit_code == 0
        (data / "classes.txt").unlink(missing_ok=True)
        outcome = gffusion(*command, "--class-names", names)
        assert outcome.exit_code == 0 and reason in outcome.err
        assert f"{data}/classes.txt is not written: " in outcome.err
        assert not (data / "classes.txt").exists()

    def test_of_kaist_must_be_named(self, gffusion: Callable, data: Path) -> None:
        (data / "classes.txt").unlink()
        file = data / "boxes" / f"{NAMES[2]}.txt"
        file.write_text("% bbGt version=3\nperson 20 30 40 60\n")
        outcome = gffusion("masks", data, "--method", "threshold")
        assert (outcome.exit_code, outcome.out) == (2, "") and f"{file} contains class names" in outcome.err

    def test_of_voc_must_be_named(self, gffusion: Callable, data: Path) -> None:
        (data / "classes.txt").unlink()
        replace_boxes(data / "boxes", "car")
        outcome = gffusion("masks", data, "--method", "threshold")
        assert outcome.exit_code == 2
        assert f"{NAMES[0]}.xml contains class names" in outcome.err and "--class-names" in outcome.err
        options = ("--method", "threshold", "--class-names", "person,car", "--fallback", "box")
        assert gffusion("masks", data, *options).exit_code == 0
        labels = read(data / "labels" / f"{NAMES[0]}.png")
        assert (labels == 2).any() and set(np.unique(labels)) <= {0, 2, 255}
        outside = labels.copy()
        outside[30:90, 20:60] = 0
        assert not outside.any()

    def test_of_a_coco_file(self, gffusion: Callable, data: Path) -> None:
        (data / "classes.txt").unlink()
        for name in NAMES:
            (data / "boxes" / f"{name}.txt").unlink()
        images = [{"id": 1, "file_name": f"{NAMES[1]}.png", "height": 160, "width": 240}]
        annotations = [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [20, 30, 40, 60]}]
        categories = [{"id": 3, "name": "dog"}, {"id": 7, "name": "car"}]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (data / "boxes" / "all.json").write_text(json.dumps(content))
        outcome = gffusion("masks", data, "--method", "threshold")
        assert outcome.exit_code == 0 and "left out 2 without boxes" in outcome.err
        assert 2 in read(data / "labels" / f"{NAMES[1]}.png")
        assert (data / "classes.txt").read_text() == "dog\ncar\n"


def test_layout_of_another_dataset(gffusion: Callable, data: Path) -> None:
    """It reads the label maps with its own numbers, so that names of classes must keep their order."""
    for old, new in (("visible", "Vis"), ("infrared", "Ir"), ("boxes", "Annotation")):
        (data / old).rename(data / new)
    replace_boxes(data / "Annotation", "Car")
    (data / "classes.txt").unlink()
    command = ("masks", data, "--layout", "m3fd", "--method", "threshold", "--overwrite")
    outcome = gffusion(*command, "--class-names", "car,person")
    assert outcome.exit_code == 2 and "so car would be read as person: leave --class-names out" in outcome.err
    assert gffusion(*command, "--class-names", "car,person", "-o", data / "mine" / "labels").exit_code == 0
    assert gffusion(*command, "--class-names", "People,Car").exit_code == 0
    (data / "classes.txt").unlink()
    assert gffusion(*command).exit_code == 0
    assert 2 in read(data / "masks" / f"{NAMES[0]}.png")
    assert (data / "classes.txt").read_text().splitlines()[-1] == "truck"
    assert FusionDataset(data, layout="m3fd").has_labels


def test_split(gffusion: Callable, data: Path) -> None:
    shutil.move(data, "part")
    shutil.move("part", data / "train")
    assert gffusion("masks", data, "--split", "train", "--method", "threshold").exit_code == 0
    assert FusionDataset(data, split="train").has_labels


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("nowhere", "the folder nowhere does not exist"),
        ("data/visible", "needs a folder visible"),
        ("data --layout circle", "the layout 'circle' is unknown"),
        ("data --method magic", "--method must be one of pca, threshold, got 'magic'"),
        ("data --method threshold --image-size 7 7", "--image-size can be used with --method pca only: leave it out"),
        (
            "data --method threshold --revision x --encoder no/such --device cpu",
            "--encoder, --revision and --device can be used with --method pca only: leave them out",
        ),
        ("data --source heat", "--source must be one of visible, infrared, both, got 'heat'"),
        ("data --fallback none", "--fallback must be one of ellipse, box, ignore, got 'none'"),
        ("data --contact-sheet sheet.gif", r"--contact-sheet must end in one of .*, got sheet\.gif"),
        ("data -o data/classes.txt", r"--output must be a folder, but data/classes\.txt is a file"),
        ("data --encoder nowhere/encoder", "Cannot load the frozen encoder from 'nowhere/encoder': .*--encoder FOLDER.* --method threshold"),
        ("data --encoder data", "The folder data contains no model: it has no config.json"),
        ("data --encoder gffusion-live", "gffusion-live has no encoder"),
        ("data --encoder DINOV2 --image-size 30 32", "multiples of the encoder's patch size 8, got 30 x 32"),
        ("data --encoder DINOV2 --device warp", "--device warp: "),
    ],
)  # fmt: skip
def test_errors_are_one_line_and_write_nothing(
    gffusion: Callable, data: Path, backbone_folders: dict[str, str], arguments: str, message: str
) -> None:
    before = sorted(data.parent.rglob("*"))
    outcome = gffusion("masks", *arguments.replace("DINOV2", backbone_folders["dinov2"]).split())
    assert (outcome.exit_code, outcome.out) == (2, "")
    [line] = outcome.err.splitlines()
    assert line.startswith("gffusion: error: ")
    assert re.search(message, line)
    assert sorted(data.parent.rglob("*")) == before


@pytest.mark.parametrize("drawn_on", ["infrared", "visible"])
def test_pixels_outside_of_the_annotated_infrared_image(gffusion: Callable, data: Path, drawn_on: str) -> None:
    """Infrared images that show the left half of the scene: the right half is ignored if boxes were drawn on them."""
    width = {"infrared": 120, "visible": 240}[drawn_on]
    replace_boxes(data / "boxes", "car", f"<size><width>{width}</width><height>160</height></size>")
    for name in NAMES:
        with Image.open(data / "infrared" / f"{name}.png") as image:
            image.crop((0, 0, 120, 160)).save(data / "infrared" / f"{name}.png")
    Rig(np.diag([2.0, 1.0, 1.0])).save(data.parent / "rig.json")
    command = ("masks", data, "--method", "threshold", "--align", "rig.json")
    outcome = gffusion(*command)
    labels = np.stack([read(data / "labels" / f"{name}.png") for name in NAMES])
    assert outcome.exit_code == 0 and not (labels[:, :, :120] == 255).all()
    assert np.unique(labels[:, :, 120:]).tolist() == [255 if drawn_on == "infrared" else 0]
    text = "; ignored 50.0 % of the pixels, which the infrared images do not show -> "
    assert (text in outcome.out) == (drawn_on == "infrared")


def test_real_pairs(gffusion: Callable, data_dir: Path, tmp_path: Path) -> None:
    """Most objects are found by day and by night, and people are warm."""
    root = tmp_path / "pairs"
    for kind, suffix in (("visible", "png"), ("infrared", "png"), ("boxes", "txt")):
        (root / kind).mkdir(parents=True)
        for name in ("00815N", "00174D"):
            shutil.copy(data_dir / "val" / "msrs" / kind / f"{name}.{suffix}", root / kind)
    shutil.copy(data_dir / "val" / "msrs" / "classes.txt", root)
    outcome = gffusion("masks", root, "--method", "threshold", "--fallback", "ignore")
    assert outcome.exit_code == 0
    objects, found = map(int, re.findall(r"(\d+) objects, (\d+) found", outcome.out)[0])
    assert objects == 13 and found >= 10
    people = read(root / "labels" / "00815N.png") == 1
    infrared = np.asarray(Image.open(root / "infrared" / "00815N.png").convert("L"))
    assert infrared[people].mean() > 3 * infrared[~people].mean()

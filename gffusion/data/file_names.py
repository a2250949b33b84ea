"""Names of the files, folders and classes of pairs: the words that distinguish the two images, and numbers of cameras."""

import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

# Words of files and folders, as in 0001_vis.png and 0001_ir.png, VIS1.png and IR1.png, or 可见光/1.png and 红外/1.png.
# A space stands for any separator or none.
VISIBLE_WORDS = (
    *("visible", "visible light", "vis", "vi", "rgb", "color", "colour", "visual", "optical", "eo", "tv", "daylight"),
    *("visibles", "visuel", "couleur", "lumière visible", "optique"),  # French
    *("sichtbar", "visuell", "tageslicht", "farbe", "farbbild"),  # German
    *("luz visible", "óptica", "óptico", "visibile", "visível", "luz visível"),  # Spanish, Italian, Portuguese
    *("видимый", "видимое", "видимый диапазон", "видимый свет", "оптический", "тв"),  # Russian
    *("可见光", "可見光", "可见", "可見", "彩色", "白光"),  # Chinese
    *("可視光", "可視", "カラー"),  # Japanese
    *("가시광선", "가시광", "가시", "실화상"),  # Korean
)
INFRARED_WORDS = (
    *("infrared", "ir", "thermal", "tir", "lwir", "mwir", "fir", "thermo", "therm", "previewdata", "8b"),
    *("infrarouge", "thermique", "infrarot", "thermisch", "wärme", "wärmebild", "waermebild", "thermalbild"),
    *("infrarrojo", "infrarroja", "térmica", "térmico", "termica", "termico", "infrarosso", "infravermelho"),
    *("инфракрасный", "инфракрасное", "ик", "тепловизор", "тепловизионный", "тепловой", "термо"),
    *("红外光", "红外", "紅外光", "紅外線", "紅外", "热红外", "热成像", "熱成像", "热像"),
    *("遠赤外線", "遠赤外", "赤外線", "赤外", "サーマル", "熱画像"),
    *("적외선", "열화상", "열영상"),
)
_NEAR_INFRARED_WORDS = ("nir", "swir", "近红外", "近紅外", "短波红外")
LABELS_WORDS = ("labels", "label", "segmentation", "seg", "mask", "masks", "gt", "boxes", "标签", "标注", "掩码")
FUSED_WORDS = ("fused", "fusion", "result", "output", "融合")
# Letters that end the names of cameras: DJI's wide, visible, zoom and thermal image, FLIR's radiometric image and
# photo.
_VISIBLE_LETTERS, _INFRARED_LETTERS = ("w", "v", "z", "dc"), ("t", "r")
_BANDS = ("g", "b", "re", "nir", "l")  # beside which _R is the red band of a multispectral camera, or the right camera
_FILLERS = (
    *("images", "image", "imgs", "img", "pictures", "bilder", "bild"),
    *("图像", "图片", "圖像", "画像", "영상"),
    "8 bit",
)

# DJI puts the letter before the name of a waypoint: dji_20230601120000_0001_t_waypoint1.
_NAMED_SHOT = re.compile(r"(dji_(?:\d+_)?\d{3,5})_([a-z])(?=_)")
_ANY_SHOT = re.compile(r"dji_(?:\d+_)?\d{3,5}_([a-z])(?![^_])")

# Names of visible images, and the names of their infrared images: VEDAI, LasHeR, RGBT234, the original archive of TNO, and
# DJI's multispectral cameras.
_KNOWN_NAMES = (
    (r"(.+)_co", r"\1_ir"),
    (r"v(\d+)", r"i\1"),
    (r"(\d+)v", r"\1i"),
    (r"vis_(.+)_r", r"ir_\1_g"),
    (r"(dji_.+)_d", r"\1_ms_nir"),
)

# Largest differences of the time stamps of the two files of one shot, in seconds: with equal and with consecutive
# numbers.
_MAX_SECONDS = (5, 1)


class Words(NamedTuple):
    """Words that distinguish a kind of files, and letters that do so only as the last part of a name (`DJI_0001_T`)."""

    words: tuple[str, ...]
    letters: tuple[str, ...] = ()


VISIBLE = Words(VISIBLE_WORDS, _VISIBLE_LETTERS)
INFRARED = Words(INFRARED_WORDS, _INFRARED_LETTERS)
NEAR_INFRARED = Words(_NEAR_INFRARED_WORDS)
INFRARED_OR_NEAR = Words((*INFRARED_WORDS, *_NEAR_INFRARED_WORDS), _INFRARED_LETTERS)
FUSED = Words((*VISIBLE_WORDS, *INFRARED_WORDS, *FUSED_WORDS))
ANY = Words((*VISIBLE_WORDS, *INFRARED_WORDS, *LABELS_WORDS), (*_VISIBLE_LETTERS, *_INFRARED_LETTERS))


def normalize_name(name: str) -> str:
    """Return a name for comparisons: without upper case, and in the composed Unicode form (macOS uses the decomposed one).

    Examples:
        >>> normalize_name("Wa\u0308rme") == normalize_name("WÄRME")
        True
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def name_file(path: Path) -> str:
    """Return the name by which a path is compared: without upper case on systems that ignore it.

    Examples:
        >>> name_file(Path("a.png")) == name_file(Path(".", "a.png"))
        True
    """
    return normalize_name(str(path)) if sys.platform in ("darwin", "win32") else str(path)


def list_spellings(name: str) -> tuple[str, ...]:
    """Return a name as it is given, and its composed and decomposed Unicode forms, which look alike but name different files.

    Examples:
        >>> len(list_spellings("wärme.png")), list_spellings("1.png")
        (2, ('1.png',))
    """
    return tuple(dict.fromkeys((name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD")))))


def normalize_class_name(name: str) -> str:
    """Return the name of a class for comparisons.

    Examples:
        >>> normalize_class_name("Traffic_light "), normalize_class_name("__background__")
        ('traffic light', 'background')
    """
    return normalize_name(name).replace("_", " ").strip()


def is_background(name: str) -> bool:
    """Return whether the name of a class is that of the background, also of boxes.

    Examples:
        >>> is_background("_background_"), is_background("backpack")
        (True, False)
    """
    return normalize_class_name(name) in ("background", "bg")


def natural_key(file: Path) -> tuple[list[str | int], str]:
    """Return a sort key that compares runs of digits as numbers; the full name orders `1` and `01`."""
    parts = re.split(r"(\d+)", normalize_name(file.stem))
    return [int(part) if part.isdecimal() else part for part in parts], file.name


def is_listed(file: Path, suffixes: Sequence[str]) -> bool:
    """Return whether an entry of a folder counts as a file with one of the suffixes: it is not hidden, and no folder.

    Links to missing files, such as on a card that is not mounted, and pipes count, so that they are reported when they are read.

    Examples:
        >>> [is_listed(Path(name), [".png"]) for name in ("1.PNG", ".1.png", "1.txt")]
        [True, False, False]
    """
    return file.suffix.lower() in suffixes and not file.name.startswith(".") and not os.path.isdir(file)


def find_core(stem: str, kind: Words) -> str:
    """Return what is left of a normalized stem without the words of a kind at its beginning and end.

    Examples:
        >>> find_core("vis_0001", VISIBLE), find_core("dji_0001_t", INFRARED), find_core("vista_1", VISIBLE)
        ('0001', 'dji_0001', 'vista_1')
    """
    if (shot := _NAMED_SHOT.match(stem)) and shot[2] in kind.letters:
        stem = shot[1] + stem[shot.end() :]
    return _compile(kind).sub("", stem)


def is_named(folder: str, kind: Words) -> bool:
    """Return whether the name of a folder consists of words of a kind, such as `Visible Light` or `红外图像`."""
    name = normalize_name(folder)
    words = kind._replace(words=(*kind.words, *_FILLERS))
    return name in kind.letters or (not find_core(name, words) and find_core(name, Words(_FILLERS)) != "")


def find_named(root: Path, kind: Words) -> Path | None:
    """Return the only folder in another one whose name consists of words of a kind, or `None` if there is none or several.

    Of folders of thermal and of near-infrared images, that of the thermal ones is returned.
    """
    if kind is INFRARED_OR_NEAR and (thermal := find_named(root, INFRARED)):
        return thermal
    named = [child for child in root.iterdir() if child.is_dir() and is_named(child.name, kind)]
    return named[0] if len(named) == 1 else None


@cache
def _compile(kind: Words) -> re.Pattern[str]:
    words = sorted({normalize_name(word) for word in kind.words}, key=len, reverse=True)
    word = "|".join(re.escape(word).replace(r"\ ", r"[\W_]*") for word in words)
    # An alphabetic word must not touch another letter: VIS1 starts with "vis", Vista does not. Chinese has no spaces.
    before, after = r"(?:(?<![^\W\d_])|(?=[\u3040-\uffff]))", r"(?:(?![^\W\d_])|(?<=[\u3040-\uffff]))"
    last = f"|(?<=[\\W_])(?:{'|'.join(kind.letters)})" if kind.letters else ""
    first = r"|dc(?=[\W_])" if "dc" in kind.letters else ""
    return re.compile(
        rf"^(?:(?:{before}(?:{word}){after}{first})[\W_]*)+|(?:[\W_]*(?:{before}(?:{word}){after}{last}))+$"
    )


def choose_widest(stems: Sequence[str]) -> str | None:
    """Return the image of DJI's wide camera among those of one shot (`_W`, `_V`, `_Z`), or None if they are not such images.

    Examples:
        >>> choose_widest(["dji_0001_z", "dji_0001_w"]), choose_widest(["dji_0001_z_tower", "dji_0001_v_tower"])
        ('dji_0001_w', 'dji_0001_v_tower')
    """
    letters = {shot[2] if (shot := _NAMED_SHOT.match(stem)) else stem.rpartition("_")[2]: stem for stem in stems}
    if len(letters) < len(stems) or not letters.keys() <= {"w", "v", "z"}:
        return None
    return next(letters[letter] for letter in "wvz" if letter in letters)


def find_zoomed(stems: Iterable[str]) -> set[str]:
    """Return the images of DJI's zoom camera (`_Z`), of which the position differs, if there are some of the wide one (`_W`, `_V`).

    Examples:
        >>> find_zoomed(["dji_0001_w", "dji_0001_z", "dji_0002_z"]) == {"dji_0001_z", "dji_0002_z"}, find_zoomed(["dji_0001_z"])
        (True, set())
    """
    letters = {stem: shot[1] for stem in stems if (shot := _ANY_SHOT.match(stem))}
    if not {"w", "v"} & set(letters.values()):
        return set()
    return {stem for stem, letter in letters.items() if letter == "z"}


def find_bands(stems: Set[str]) -> set[str]:
    """Return the normalized stems in which `_r` means no infrared image, because another band of a shot is beside it.

    Examples:
        >>> sorted(find_bands({"1_rgb", "1_r", "1_nir", "2_rgb", "2_r"})), find_bands({"flir_1", "flir_1_r"})
        (['1_r', '2_r'], set())
    """
    reds = {stem for stem in stems if re.search(r"[\W_]r$", stem)}
    return reds if any(stem[:-1] + band in stems for stem in reds for band in _BANDS) else set()


class _Shot(NamedTuple):
    """Name of a DJI file without its letter: `DJI_20230601120000_0001`, with the name of a waypoint."""

    name: str
    time: datetime
    number: int


def match_shots(visible: Iterable[str], infrared: Iterable[str]) -> dict[str, str]:
    """Match the files of shots whose time stamps or numbers differ a little between the two cameras.

    DJI: `DJI_20230601120000_0001_T` and `DJI_20230601120001_0001_W`. FLIR numbers thermal image and photo of a shot
    consecutively: `IR_0001` and `DC_0002`. Numbers can differ only if the two cameras share no number.

    Returns:
        The infrared stem of each visible stem that has one, all normalized; each is the best match of the other one.

    Examples:
        >>> match_shots(["dji_20230601120001_0001_w"], ["dji_20230601120000_0001_t", "dji_20230601120007_0002_t"])
        {'dji_20230601120001_0001_w': 'dji_20230601120000_0001_t'}
        >>> match_shots(["dc_0002", "dc_0004"], ["ir_0001", "ir_0003"])
        {'dc_0002': 'ir_0001', 'dc_0004': 'ir_0003'}
    """
    shots = {stem: shot for stem in visible if (shot := _parse_shot(stem, VISIBLE))}
    others = {stem: shot for stem in infrared if (shot := _parse_shot(stem, INFRARED))}
    step = 0 if {shot.number for shot in shots.values()} & {shot.number for shot in others.values()} else 1
    costs: dict[str, dict[str, float]] = {stem: {} for stem in (*shots, *others)}
    numbered: dict[tuple[str, int], list[str]] = {}
    for other, other_shot in others.items():
        numbered.setdefault((other_shot.name, other_shot.number), []).append(other)
    for stem, shot in shots.items():
        for number in {shot.number - step, shot.number + step}:
            for other in numbered.get((shot.name, number), ()):
                seconds = abs((shot.time - others[other].time).total_seconds())
                if seconds <= _MAX_SECONDS[step]:
                    costs[stem][other] = costs[other][stem] = seconds
    best = {stem: _find_best(candidates) for stem, candidates in costs.items()}
    matched = {stem: match for stem in shots if (match := best[stem]) is not None and best[match] == stem}
    photos, thermal = (
        {int(found[1]): stem for stem in stems if (found := re.fullmatch(rf"{prefix}_?(\d+)", stem))}
        for prefix, stems in (("dc", visible), ("ir", infrared))
    )
    return matched | {stem: thermal[number - 1] for number, stem in photos.items() if number - 1 in thermal}


def match_known_names(visible: Iterable[str], others: Set[str], are_results: bool = False) -> dict[str, str]:
    """Return the infrared stem of each visible stem that has one, of datasets whose names differ in other than usual words.

    Label maps, boxes and fused images (`are_results`) can have the name of the infrared image, or the part that both share.

    Examples:
        >>> match_known_names(["0001_co", "v000002", "3_co"], {"0001_ir", "i000002", "3"})
        {'0001_co': '0001_ir', 'v000002': 'i000002'}
        >>> match_known_names(["0001_co", "v000002", "3_co"], {"0001", "i000002", "3", "3_ir"}, are_results=True)
        {'0001_co': '0001', 'v000002': 'i000002'}
    """
    found = {}
    for stem in visible:
        for pattern, infrared in _KNOWN_NAMES:
            if name := re.fullmatch(pattern, stem):
                names = {name.expand(infrared), name[1]} if are_results else {name.expand(infrared)}
                if len(names & others) == 1:
                    found[stem] = min(names & others)
    return found


def _parse_shot(stem: str, kind: Words) -> _Shot | None:
    waypoint = stem[shot.end() :] if (shot := _NAMED_SHOT.match(stem)) else ""
    found = re.fullmatch(rf"(.*?)(\d{{14}})_(\d{{3,5}}){re.escape(waypoint)}", find_core(stem, kind))
    if found is None:
        return None
    try:
        return _Shot(found[1] + waypoint, datetime.strptime(found[2], "%Y%m%d%H%M%S"), int(found[3]))
    except ValueError:
        return None


def _find_best(candidates: Mapping[str, float]) -> str | None:
    """Return the candidate of the lowest cost, or None if there is none or several."""
    lowest = [other for other, cost in candidates.items() if cost == min(candidates.values())]
    return lowest[0] if len(lowest) == 1 else None

"""Draw the diagrams of docs/concepts: `python tools/diagrams.py`; with `--check`, only compare them."""

import argparse
import html
import math
from collections.abc import Callable, Sequence
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "docs" / "concepts"
FILLS = {
    "data": "#eceff1",  # images, features, labels
    "ours": "#d1c4e9",  # networks that are trained
    "frozen": "#b3e5fc",  # encoders that are not trained
    "step": "#ffffff",  # operations without weights
    "loss": "#ffccbc",
}
LINE = "#37474f"


class Diagram:
    """A drawing of boxes and arrows, as SVG.

    Args:
        width: Width in pixels.
        height: Height in pixels.
        title: What it shows, for readers who do not see it.
    """

    def __init__(self, width: int, height: int, title: str) -> None:
        self.width, self.height, self.title = width, height, title
        self.parts: list[str] = []

    def box(self, x: float, y: float, width: float, height: float, text: str, kind: str = "step") -> None:
        """Add a box with centered lines of text; the first line of several is bold."""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" fill="{FILLS[kind]}" stroke="{LINE}"/>'
        )
        lines = text.split("\n")
        top = y + height / 2 - 8 * (len(lines) - 1) + 4.5
        for number, line in enumerate(lines):
            self.text(x + width / 2, top + 16 * number, line, bold=number == 0 and len(lines) > 1)

    def text(
        self, x: float, y: float, text: str, anchor: str = "middle", bold: bool = False, small: bool = False
    ) -> None:
        """Add a line of text."""
        style = f'text-anchor="{anchor}"' + ' font-weight="bold"' * bold + ' font-size="11"' * small
        self.parts.append(f'<text x="{x:g}" y="{y:g}" {style}>{html.escape(text, quote=False)}</text>')

    def arrow(self, *points: tuple[float, float], dashed: bool = False) -> None:
        """Add an arrow through points."""
        path = "M" + " L".join(f"{x:g} {y:g}" for x, y in points)
        color = "#d84315" if dashed else LINE
        style = f'stroke="{color}" marker-end="url(#{"gradient" if dashed else "head"})"'
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(f'<path d="{path}" fill="none" {style}{dashes}/>')

    def chain(self, x: float, y: float, height: float, *boxes: tuple[str, str, float], gap: float = 40) -> None:
        """Add boxes in a row, with arrows between them: text, kind and width of each."""
        for number, (text, kind, width) in enumerate(boxes):
            if number:
                self.arrow((x - gap, y + height / 2), (x, y + height / 2))
            self.box(x, y, width, height, text, kind)
            x += width + gap

    def curve(self, points: Sequence[tuple[float, float]], color: str) -> None:
        """Add a thick line through points."""
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{joined}" fill="none" stroke="{color}" stroke-width="3"/>')

    def line(self, start: tuple[float, float], end: tuple[float, float], dashed: bool = False) -> None:
        """Add a thin line."""
        dashes = ' stroke-dasharray="3 3"' if dashed else ""
        self.parts.append(
            f'<line x1="{start[0]:g}" y1="{start[1]:g}" x2="{end[0]:g}" y2="{end[1]:g}" stroke="{LINE}"{dashes}/>'
        )

    def render(self) -> str:
        """Return the SVG file."""
        heads = "".join(
            f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
            f'<path d="M0 0 L8 4 L0 8 z" fill="{color}"/></marker>'
            for name, color in (("head", LINE), ("gradient", "#d84315"))
        )
        content = "\n".join(self.parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" role="img" '
            f'font-family="sans-serif" font-size="13" fill="#212121">\n<title>{html.escape(self.title)}</title>\n'
            f'<defs>{heads}</defs>\n<rect width="{self.width}" height="{self.height}" rx="8" fill="#ffffff"/>\n{content}\n</svg>\n'
        )


def draw_overview() -> Diagram:
    """Return the whole model in the hybrid paradigm, with its losses."""
    d = Diagram(940, 330, "GFFusion in the hybrid paradigm: FuNet, FINet with CLIP, and SSNet with DINOv2")
    d.box(20, 60, 110, 50, "visible\nB, 3, H, W", "data")
    d.box(20, 190, 110, 50, "infrared\nB, 1, H, W", "data")
    d.box(200, 30, 250, 60, "FuNet\nconvolutions, Eq. (5)", "ours")
    d.chain(200, 150, 60, ("CLIP\nfrozen", "frozen", 110), ("FINet\nEq. (6) to (8)", "ours", 100))
    d.chain(520, 35, 50, ("fused\nB, 1 or 3, H, W", "data", 110), ("L_st\nEq. (10)", "loss", 110))
    head = ("DINOv2\nfrozen", "frozen", 110), ("head\nlinear, Eq. (9)", "ours", 100)
    d.chain(520, 150, 60, *head, ("logits\nB, C, H, W", "data", 110))
    d.text(645, 240, "SSNet", bold=True)
    d.line((520, 222), (770, 222))
    d.box(810, 265, 110, 50, "L_ss\nEq. (11)", "loss")
    d.arrow((130, 75), (200, 52))
    d.arrow((130, 205), (160, 205), (160, 72), (200, 72))
    d.arrow((130, 95), (175, 95), (175, 170), (200, 170))
    d.arrow((130, 225), (175, 225), (175, 190), (200, 190))
    d.text(330, 172, "tokens", small=True)
    d.arrow((400, 150), (400, 90))
    d.text(408, 124, "injection", "start", small=True)
    d.arrow((450, 60), (520, 60))
    d.arrow((575, 85), (575, 150))
    d.arrow((865, 210), (865, 265))
    d.arrow((810, 290), (560, 290), (560, 212), dashed=True)
    d.arrow((545, 150), (545, 87), dashed=True)
    d.arrow((520, 75), (452, 75), dashed=True)
    d.text(685, 308, "gradient of L_ss, through the frozen DINOv2", small=True)
    return d


def draw_funet() -> Diagram:
    """Return FuNet, and its gradient residual dense block."""
    d = Diagram(
        940, 400, "FuNet: one encoder for each image, concatenation, injection, and a decoder; below, the block GRDB"
    )
    for y, name in ((30, "visible (luma)"), (120, "infrared")):
        first, second = ("conv 3x3\nLeakyReLU, 16", "ours", 130.0), ("GRDB\n48 channels", "ours", 110.0)
        d.chain(20, y, 50, (f"{name}\nB, 1, H, W", "data", 120), first, second)
    d.arrow((460, 55), (480, 55), (480, 90), (500, 90))
    d.arrow((460, 145), (480, 145), (480, 110), (500, 110))
    boxes = (
        ("z_f\nB, 96, H, W", "data", 90),
        ("injection\nof FINet", "ours", 80),
        ("decoder\nconv, norm,\nLeakyReLU;\nlast: sigmoid", "ours", 100),
    )
    d.chain(500, 60, 80, *boxes, ("fused\nin [0, 1]", "data", 70), gap=28)
    d.line((20, 205), (920, 205), dashed=True)
    d.text(20, 230, "GRDB: gradient residual dense block", "start", bold=True)
    d.box(20, 290, 80, 50, "features\n16", "data")
    d.box(150, 250, 120, 44, "conv 3x3\nLeakyReLU", "ours")
    d.box(310, 250, 120, 44, "conv 3x3\nLeakyReLU", "ours")
    d.box(500, 250, 150, 44, "concat, conv 1x1", "ours")
    d.box(150, 340, 200, 44, "Sobel magnitude |gx| + |gy|", "step")
    d.box(500, 340, 150, 44, "conv 1x1", "ours")
    d.box(706, 295, 90, 44, "+\nLeakyReLU", "step")
    d.box(820, 292, 90, 50, "features\n48", "data")
    d.arrow((100, 305), (125, 305), (125, 272), (150, 272))
    d.arrow((100, 325), (125, 325), (125, 362), (150, 362))
    d.arrow((270, 272), (310, 272))
    d.arrow((430, 272), (500, 272))
    d.arrow((290, 240), (290, 262), (310, 262))
    d.arrow((125, 305), (125, 240), (470, 240), (470, 262), (500, 262))
    d.arrow((290, 272), (290, 306), (470, 306), (470, 282), (500, 282))
    d.arrow((350, 362), (500, 362))
    d.arrow((650, 272), (680, 272), (680, 310), (706, 310))
    d.arrow((650, 362), (680, 362), (680, 324), (706, 324))
    d.arrow((796, 317), (820, 317))
    return d


def draw_finet() -> Diagram:
    """Return FINet: tokens of both images, their merging and their injection."""
    d = Diagram(
        940,
        330,
        "FINet: tokens of both images, element-wise maximum, weighted sum over the layers, and injection by gate and sum",
    )
    d.chain(20, 50, 50, ("visible\n224 x 224", "data", 100), ("CLIP\nlayers 1 to 11", "frozen", 100))
    d.chain(20, 190, 50, ("infrared\n224 x 224", "data", 100), ("CLIP\nthe same", "frozen", 100))
    merging = ("maximum\nper layer, (6)", "step", 110), ("weighted sum\n11 weights", "ours", 120)
    d.chain(300, 115, 60, *merging, ("z_c\nB, 196, 768", "data", 90))
    d.arrow((260, 75), (280, 75), (280, 135), (300, 135))
    d.arrow((260, 215), (280, 215), (280, 155), (300, 155))
    d.text(430, 137, "f_l", small=True)
    d.box(740, 30, 180, 50, "gate, Eq. (7)\nsigmoid(up(conv 1x1))", "ours")
    d.box(740, 120, 180, 50, "features, Eq. (8)\nup(linear)", "ours")
    d.arrow((655, 115), (655, 55), (740, 55))
    d.arrow((700, 145), (740, 145))
    injection = ("x gate", "step", 60), ("+ features\n+ z_f", "step", 110), ("z\nto decoder", "data", 85)
    d.chain(450, 255, 50, ("z_f\nfrom FuNet", "data", 90), *injection, gap=45)
    d.arrow((740, 68), (715, 68), (715, 215), (615, 215), (615, 255))
    d.arrow((770, 170), (770, 255))
    d.arrow((562, 280), (562, 318), (745, 318), (745, 305))
    d.text(660, 314, "residual", small=True)
    return d


def draw_ssnet() -> Diagram:
    """Return SSNet."""
    d = Diagram(940, 150, "SSNet: the fused image, DINOv2, a linear head, and upsampled logits")
    d.chain(
        15,
        45,
        60,
        ("fused\nB, 1 or 3, H, W", "data", 100),
        ("resize\n196 x 196", "step", 90),
        ("DINOv2\nfrozen, patches of 14", "frozen", 160),
        ("tokens\n14 x 14 of 768", "data", 120),
        ("head\nlinear", "ours", 80),
        ("upsample\nto H x W", "step", 90),
        ("logits\nB, C, H, W", "data", 100),
        gap=28,
    )
    return d


def draw_algorithm() -> Diagram:
    """Return what is trained before and after epoch q, and the schedules."""
    d = Diagram(
        940,
        330,
        "Algorithm 1: before epoch q, FuNet and FINet are trained; from q on, the head too, while lambda rises",
    )
    left, middle, right = 220.0, 620.0, 900.0
    rows: tuple[tuple[str, str, Callable[[float], float], Callable[[float], float]], ...] = (
        ("FuNet, FINet: learning rate", "#5e35b1", lambda _: 1.0, lambda t: (1 + math.cos(math.pi * t)) / 2),
        ("head: learning rate", "#00897b", lambda _: 0.0, lambda t: 0.9 * 0.1 ** int(t * 5)),
        ("lambda, the weight of L_ss", "#d84315", lambda _: 0.2, lambda t: 0.2 + 0.8 * (1 - math.cos(math.pi * t)) / 2),
    )
    for number, (name, color, before, after) in enumerate(rows):
        base = 90 + 80 * number
        d.text(left - 12, base - 20, name, "end")
        d.line((left, base), (right, base))
        steps = [i / 100 for i in range(101)]
        points = [(left + (middle - left) * t, base - 50 * before(t)) for t in steps]
        points += [(middle + (right - middle) * t, base - 50 * after(t)) for t in steps]
        d.curve(points, color)
    d.line((middle, 20), (middle, 262), dashed=True)
    d.text((left + middle) / 2, 24, "epochs before q: L_st + lambda L_ss", bold=True)
    d.text((middle + right) / 2, 24, "from q on: the head learns, too", bold=True)
    d.box(left, 275, right - left, 36, "CLIP and DINOv2 stay frozen; gradients pass through DINOv2", "frozen")
    d.text(middle, 268, "q", bold=True)
    return d


DIAGRAMS = {
    "overview": draw_overview,
    "funet": draw_funet,
    "finet": draw_finet,
    "ssnet": draw_ssnet,
    "algorithm1": draw_algorithm,
}


def main(arguments: list[str] | None = None) -> int:
    """Write or compare the diagrams, and return the exit code: 1 if the comparison finds another one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with code 1 if a diagram is outdated")
    check = parser.parse_args(arguments).check
    drawn = {FOLDER / f"{name}.svg": draw().render() for name, draw in DIAGRAMS.items()}
    if check:
        return int(any(not path.exists() or path.read_text(encoding="utf-8") != drawn[path] for path in drawn))
    for path, content in drawn.items():
        path.write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""The diagrams are those that the script draws, and valid XML that names nothing outside."""

from xml.etree import ElementTree

import diagrams


def test_diagrams_are_up_to_date() -> None:
    assert diagrams.main(["--check"]) == 0
    for name in diagrams.DIAGRAMS:
        root = ElementTree.parse(diagrams.FOLDER / f"{name}.svg").getroot()
        assert root.findtext("{http://www.w3.org/2000/svg}title")

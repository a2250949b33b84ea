"""Parse XML of any origin."""

from typing import NoReturn
from xml.etree import ElementTree


class _Builder(ElementTree.TreeBuilder):
    def doctype(self, *_: object) -> NoReturn:
        raise ValueError("it declares a document type, which can define entities: remove <!DOCTYPE ...>")


def parse_xml(content: str | bytes) -> ElementTree.Element:
    """Parse a document without document type, and so without entities.

    Raises:
        ValueError: If it is damaged, has an unknown encoding, or declares a document type.

    Examples:
        >>> parse_xml("<size><width>640</width></size>").findtext("width")
        '640'
    """
    parser = ElementTree.XMLParser(target=_Builder())
    try:
        parser.feed(content)
        return parser.close()
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise ValueError(str(error)) from error

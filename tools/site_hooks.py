"""Hooks of mkdocs.yml: pages made from other files of the repository, links to them, formulas as MathML, and no resources of other hosts."""

import html
import os
import re
from functools import cache
from pathlib import Path

import notebooks
import site_tables
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from gffusion.zoo import find_entries

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(?<=\]\()((?:\.\./)+[^)#\s]+)(?=[)#])")
RESOURCE = re.compile(
    r"""<(?:script|img|iframe|source|video)\b[^>]*\bsrc=["'](?:https?:)?//[^>]*>|<link\b(?![^>]*\bcanonical\b)[^>]*\bhref=["'](?:https?:)?//[^>]*>"""
)
NAME = re.compile(r"\[<code>~?([\w.]+)</code>\](?![\[(])")
TYPE = re.compile(r"<code>([^<\n]*`[^<\n]*)</code>")
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def generated_pages() -> dict[str, Path]:
    """Return the pages that are not in docs/: their addresses in the site, and the files that they show."""
    cards = {f"models/{card.stem}.md": card for card in sorted((ROOT / "model_cards").glob("*.md"))}
    scripts = {f"notebooks/{path.stem}.md": path for path in sorted((ROOT / "examples" / "notebooks").glob("*.py"))}
    return {"changelog.md": ROOT / "CHANGELOG.md", **cards, **scripts}


@cache
def documented_names() -> list[str]:
    """Return the names in the API reference."""
    pages = sorted(Path(ROOT, "docs", "api").glob("*.md"))
    return [
        name for page in pages for name in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    ]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for address, source in generated_pages().items():
        is_notebook = source.suffix == ".py"
        content = notebooks.make_page(source) if is_notebook else source.read_text(encoding="utf-8")
        file = File.generated(config, address, content=content)
        file.edit_uri = f"{config.repo_url}/blob/main/{source.relative_to(ROOT)}"
        files.append(file)
    return files


@cache
def search_boosts() -> dict[str, float]:
    """Return the pages and folders that the search shows earlier or later than others, such as models without weights."""
    recipes = {f"models/{entry.name}.md": 0.3 for entry in find_entries(status="recipe-only")}
    return {"troubleshooting.md": 3.0, "guides": 1.5, "get-started.md": 1.5, "changelog.md": 0.3, **recipes}


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Weigh a page in the search, without the tags that model cards have for the Hub, and resolve its links."""
    page.meta.pop("tags", None)
    boosts, address = search_boosts(), page.file.src_uri
    page.meta["search"] = {"boost": boosts.get(address) or boosts.get(address.partition("/")[0], 1.0)}
    return resolve_links(nest_names(markdown), page, config)


def nest_names(markdown: str) -> str:
    """Put the names of the API reference one level below the sections that they stand in."""
    head, heading, sections = markdown.partition("\n## ")
    return head + heading + sections.replace("\n::: ", "\n### ::: ")


def resolve_links(markdown: str, page: Page, config: MkDocsConfig) -> str:
    """Point links to files outside docs/ to their pages, or else to the repository, so that they also work there."""
    pages = {source: address for address, source in generated_pages().items()}
    address = page.file.src_uri
    source = generated_pages().get(address)
    folder = (source if source and source.suffix == ".md" else Path(config.docs_dir, address)).parent

    def resolve(match: re.Match[str]) -> str:
        target = Path(os.path.normpath(folder / match[0]))
        if not target.exists():
            raise PluginError(f"{address}: the link {match[0]} leads to no file")
        if target in pages or target.is_relative_to(config.docs_dir):
            site = pages.get(target) or str(target.relative_to(config.docs_dir))
            return os.path.relpath(site, Path(address).parent)
        kind = "tree" if target.is_dir() else "blob"
        return f"{config.repo_url.rstrip('/')}/{kind}/main/{target.relative_to(ROOT)}"

    return LINK.sub(resolve, site_tables.fill(markdown))


def on_page_content(html_text: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn formulas into MathML, which browsers show without a script, mark what site.css keeps whole or breaks, and describe the page."""

    def to_mathml(match: re.Match[str]) -> str:
        is_block = match[1] == "div"
        formula = convert(html.unescape(match[2]), display="block" if is_block else "inline")
        return f'<div class="formula">{formula}</div>' if is_block else formula

    page.meta["description"] = find_first_sentence(html_text) or f"{page.title}: {config.site_description}"
    if page.file.src_uri == "troubleshooting.md":
        html_text = html_text.replace('<div class="highlight">', '<div class="highlight messages">')
    return re.sub(r"<code>(?=[^<\s]+</code>)", '<code class="word">', FORMULA.sub(to_mathml, link_names(html_text)))


def find_first_sentence(html_text: str) -> str:
    """Return the first sentence of a page, escaped, or nothing if other things than text stand below the title."""
    paragraph = re.search(r"</h1>\s*<p>(.*?)</p>", html_text, re.DOTALL)
    text = " ".join(re.sub(r"<[^>]+>", "", paragraph[1] if paragraph else "").split())
    return html.escape(html.unescape(re.split(r"\.(?:\s|$)", text)[0].rstrip(":")))


def link_names(html_text: str) -> str:
    """Turn names such as [`predict`] into links, also in types of docstrings in the style of transformers."""

    def to_text(match: re.Match[str]) -> str:
        text = re.sub(r"`(.*?)`", r"<code>\1</code>", match[1])
        return text.replace("*optional*", "<em>optional</em>")

    def to_reference(match: re.Match[str]) -> str:
        names = [name for name in documented_names() if name.endswith(f".{match[1]}")]
        code = f"<code>{match[1]}</code>"
        return f'<autoref identifier="{names[0]}" optional>{code}</autoref>' if names else code

    return NAME.sub(to_reference, TYPE.sub(to_text, html_text))


def on_post_build(config: MkDocsConfig) -> None:
    """Check that no page loads scripts, styles, fonts or images from other hosts."""
    for page in sorted(Path(config.site_dir).rglob("*.html")):
        if found := RESOURCE.search(page.read_text(encoding="utf-8")):
            raise PluginError(f"{page.relative_to(config.site_dir)} loads from another host: {found[0]}")

"""Links, anchors and paths in the documentation."""

import builtins
import re
from pathlib import Path

import pytest
import site_tables
import yaml
from doc_blocks import read_blocks

from gffusion import create_model, list_models
from gffusion.evaluation.baselines import BASELINES
from gffusion.metrics import PROTOCOLS, list_metrics
from gffusion.training.recipe import BUNDLED_RECIPES

ROOT = Path(__file__).parents[2]
PAGES = [
    page
    for pattern in ("*.md", "docs/**/*.md", "model_cards/*.md", "projects/**/*.md")
    for page in sorted(ROOT.glob(pattern))
]
REPOSITORY = re.compile(r"https://(?:github.com|raw.githubusercontent.com)/gffusion/gffusion/(?:(?:blob|tree)/)?main/")
SITE = "https://gffusion.github.io/gffusion/"
LINK = re.compile(r"\]\(([^)\s#]*)(?:#([^)\s]+))?\)")
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def read(page: Path) -> str:
    """Return a page without its code blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub and mkdocs make them."""
    headings = re.findall(r"^#+ (.*)", read(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target, anchor in LINK.findall(read(page)):
        if match := REPOSITORY.match(target):  # of README.md, which PyPI shows, too
            file = ROOT / target[match.end() :]
            assert file.exists(), target
        elif target.startswith(SITE):
            file = ROOT / "docs" / (target.removeprefix(SITE).replace(".html", ".md") or "index.md")
            assert file.exists() or (ROOT / "model_cards" / file.name).exists(), target
        elif re.match("[a-z]+:", target):
            continue
        else:
            file = (page.parent / target) if target else page
            assert file.exists(), target
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{target}#{anchor}"


def test_named_scripts_exist() -> None:
    """Also in comments, such as the reasons why blocks are not run. Links relative to the page are tested above."""
    pattern = re.compile(
        r"(?<!\.\./)\b(?:benchmarks|docs|examples|projects|tests|tools)/[\w./-]*\.(?:py|md|json|jsonl|yaml)\b"
    )
    named = {(page.name, path) for page in PAGES for path in pattern.findall(page.read_text(encoding="utf-8"))}
    assert [(page, path) for page, path in sorted(named) if not (ROOT / path).exists()] == []


def test_contributing_describes_every_folder_of_the_package() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    folders = [path.parent.name for path in (ROOT / "gffusion").glob("*/__init__.py")]
    assert [name for name in folders if f"`{name}/`" not in text] == []


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "TESTING.md"])
def test_named_paths_exist(page: str) -> None:
    paths = re.findall(r"`([\w.]+/[\w./]*)`", (ROOT / page).read_text(encoding="utf-8"))
    assert paths
    assert [path for path in paths if not (ROOT / path).exists() and not (ROOT / "gffusion" / path).exists()] == []


def test_steps_for_contributors_name_what_the_code_defines() -> None:
    """Names of functions, classes and constants have a capital letter or an underscore, and NAME is that of a contributor."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    steps = text.partition("## Adding something")[2].partition("\n## ")[0]
    named = {name for name in re.findall(r"`(\w*[A-Z_]\w*)(?:\([^`]*\))?`", steps) if "NAME" not in name.split("_")}
    files = [path for folder in ("gffusion", "tests", "tools") for path in (ROOT / folder).glob("**/*.py")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in files)
    defined = set(re.findall(r"^\s*(?:(?:def|class) )?(\w+)(?=[(:]| = |\[)", code, re.MULTILINE))
    assert named
    assert not (lost := named - defined - set(dir(builtins))), f"CONTRIBUTING.md names {lost}, which no longer exist"


def test_readme_is_short_and_works_outside_the_repository() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    assert [target for target, _ in LINK.findall(text) if not target.startswith("https://")] == []


def test_the_citation_is_that_of_citation_cff() -> None:
    paper = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["preferred-citation"]
    (block,) = [block.text for block in read_blocks(ROOT / "docs" / "index.md") if block.language == "bibtex"]
    cited = dict(re.findall(r"^  (\w+) += \{(.*)\},$", block, re.MULTILINE))
    assert cited == {
        "title": cited["title"],  # with braces around names
        "author": " and ".join(f"{name['family-names']}, {name['given-names']}" for name in paper["authors"]),
        "journal": paper["journal"],
        "volume": str(paper["volume"]),
        "pages": f"{paper['start']}--{paper['end']}",
        "year": str(paper["year"]),
        "doi": paper["doi"],
    }
    assert re.sub("[{}]", "", cited["title"]) == paper["title"]


def test_readme_has_the_models_of_the_registry() -> None:
    is_equal = site_tables.list_models_of_readme() in (ROOT / "README.md").read_text(encoding="utf-8")
    assert is_equal, "replace the table of models in README.md by what `python tools/site_tables.py readme` prints"


@pytest.mark.parametrize(
    ("page", "statement"),
    [
        ("README.md", f"{len(list_metrics('fusion'))} fusion metrics for models"),
        ("README.md", f"{NUMBERS[len(list_models(status='bundled'))].title()} small models are included"),
        ("docs/metrics/protocols.md", f"under all {NUMBERS[len(PROTOCOLS)]} protocols"),
    ],
)
def test_pages_count_what_the_package_has(page: str, statement: str) -> None:
    assert statement in (ROOT / page).read_text(encoding="utf-8"), f"{page} must say {statement!r}"


def test_pages_name_all_baselines_and_models() -> None:
    section = (
        read(ROOT / "docs" / "guides" / "evaluate.md").partition("## Baselines\n")[2].partition(" need no training")[0]
    )
    assert set(re.findall(r"`(\w+)`", section)) == set(BASELINES)
    choice = read(ROOT / "docs" / "models" / "index.md").partition("| you want | take |")[2].partition("\n\n")[0]
    assert set(list_models(status="bundled")) <= set(re.findall(r"`([\w-]+)`", choice))


def test_the_guide_names_all_recipes() -> None:
    files = {path.relative_to(BUNDLED_RECIPES).with_suffix("").as_posix() for path in BUNDLED_RECIPES.rglob("*.yaml")}
    text = read(ROOT / "docs" / "guides" / "training.md").partition("| recipe |")[2].partition("\n\n")[0]
    named = {name for row in text.splitlines() for name in re.findall(r"`([\w/]+)`", row.partition(" | ")[0])}
    wrong = files ^ named
    assert not wrong, (
        f"the table of recipes in docs/guides/training.md and gffusion/training/recipes/ differ in {wrong}"
    )


def test_table_of_the_paper_has_its_values() -> None:
    rows = [line.strip("|").split(" | ") for line in site_tables.compare_with_paper().splitlines()[2:]]
    paper, tiny = ({name.strip(): row[column] for name, *row in rows} for column in (0, 1))
    assert paper["merged layers"] == "1 to 11"
    assert paper["size of its input"] == "196 x 196"
    assert paper["encoder of FINet"] == "12 layers, 768 channels, 16 x 16 pixels a patch"
    assert paper["fusion loss"] == "SSIM, gradients"
    config = create_model("gffusion-tiny").config
    assert tiny["encoder of FINet"].startswith(f"12 layers, {config.clip_config.hidden_size} channels")
    assert tiny["size of its input"] == " x ".join(map(str, config.segmenter_image_size))


def test_tables_of_benchmarks_have_plain_headings_and_all_numbers() -> None:
    values = {
        "ratio": 0.5,
        "float32": {"first_steps": 1, "loss": 2},
        "deep": {"cpu": {"share": 3}, "cuda": {"levels": 4}},
    }
    first, second, third = (text.splitlines() for text in site_tables.describe_values("times", values))
    assert (first[0], first[2], first[4:]) == ("**times**", "|  |  |", ["| ratio | 0.5 |"])
    assert (second[2], second[4:]) == ("|  | first steps | loss |", ["| float32 | 1 | 2 |"])
    assert (third[0], third[2]) == ("**times: deep**", "|  | share | levels |")
    assert third[4:] == ["| cpu | 3 |  |", "| cuda |  | 4 |"]


def test_reference_of_the_command_line_fits_on_a_screen() -> None:
    """A line of code has room for 87 characters in a window of 1280 pixels."""
    assert [line for line in site_tables.describe_commands().splitlines() if len(line) > 87] == []


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if "<!-- generated: " in page.read_text(encoding="utf-8")],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_files_say_where_their_tables_are(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers of the files see a line about each table, which the site replaces by the table."""
    monkeypatch.setattr(site_tables, "TABLES", {name: lambda: "a table\n" for name in site_tables.TABLES})
    text = page.read_text(encoding="utf-8")
    filled = site_tables.fill(text)
    assert filled.count("a table\n") == text.count("<!-- generated: ")
    assert "generated: " not in filled and "Made when the site is built" not in filled

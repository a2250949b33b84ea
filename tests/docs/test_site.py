"""The site as `make docs` builds it: what the search finds, and what fits on a page."""

import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MESSAGES = re.findall(
    r"^```text\n(.*?)\n", (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE
)
# The worker of the search in Node.js, as a page uses it: prints the pages found for each query, best first.
SEARCH = """
const fs = require("fs"), vm = require("vm");
const [index, queries, worker, query] = process.argv.slice(1);
let found;
globalThis.self = globalThis;
globalThis.addEventListener = (name, listener) => { globalThis.listener = listener; };
globalThis.postMessage = (message) => { found = message.data; };
globalThis.Worker = class { postMessage(data) { this.done = listener({ data }); } };
globalThis.window = globalThis;
for (const script of [worker, query]) vm.runInThisContext(fs.readFileSync(script, "utf8"));
(async () => {
  const search = new Worker();
  const ask = async (type, data) => { search.postMessage({ type, data }); await search.done; return found; };
  const { config, docs } = JSON.parse(fs.readFileSync(index, "utf8"));
  await ask(0, { config, docs, options: {} });
  const answers = {};
  for (const text of JSON.parse(queries)) {
    found = { items: [] };
    answers[text] = (await ask(2, text)).items.map((group) => group[0].location.split("#")[0]);
  }
  console.log(JSON.stringify(answers));
})();
"""

# A click on the button that copies a block, in Node.js: prints what the script gives the theme to copy.
COPY = """
const fs = require("fs"), vm = require("vm");
const [script, text] = process.argv.slice(1);
const button = { dataset: { clipboardTarget: "#code" } };
let click;
globalThis.document = { addEventListener: (name, listener) => { click = listener; }, querySelector: () => ({ textContent: text }) };
vm.runInThisContext(fs.readFileSync(script, "utf8"));
click({ target: { closest: () => button } });
console.log(button.dataset.clipboardText);
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site."""
    pytest.importorskip("material")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True))
    return folder


@pytest.fixture(scope="module")
def search(site: Path) -> Callable[..., dict[str, list[str]]]:
    """Return a function that searches the site: the pages found for each query."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("the search needs Node.js")
    (worker,) = site.glob("assets/javascripts/workers/search.*.min.js")

    def search(*queries: str) -> dict[str, list[str]]:
        arguments = (
            site / "search/search_index.json",
            json.dumps(queries),
            worker,
            site / "javascripts/search-query.js",
        )
        done = subprocess.run([node, "-e", SEARCH, *map(str, arguments)], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    return search


@pytest.mark.slow
def test_search_finds_topics_before_model_cards(site: Path, search: Callable[..., dict[str, list[str]]]) -> None:
    assert '"tags": [' not in (site / "search/search_index.json").read_text(encoding="utf-8")
    for query, pages in search("infrared ranges", "thermal", "segmentation").items():
        assert [page for page in pages[:5] if page.startswith("models/gffusion-")] == [], query
        assert [page for page in pages[:5] if page.startswith("guides/")], query


@pytest.mark.slow
@pytest.mark.parametrize(
    ("query", "page"),
    [
        ("--align", "guides/alignment.html"),
        ("gffusion fuse --align resize", "guides/alignment.html"),
        ('"--align resize"', "guides/alignment.html"),
        ("--infrared-range", "guides/infrared.html"),
        ("MI", "metrics/MI.html"),
    ],
)
def test_search_takes_options_and_short_names(
    query: str, page: str, search: Callable[..., dict[str, list[str]]]
) -> None:
    assert page in search(query)[query][:2]


@pytest.mark.slow
def test_search_finds_pages_by_common_words(search: Callable[..., dict[str, list[str]]]) -> None:
    expected = {
        "training": "guides/training.html",
        "train": "guides/training.html",
        "fine-tune": "guides/training.html",
        "16-bit": "guides/values.html",
        "DJI": "guides/drones.html",
        "FLIR": "guides/cameras.html",
        "drone": "guides/drones.html",
        "webcam": "guides/live.html",
        "out of memory": "troubleshooting.html",
        "CUDA out of memory": "troubleshooting.html",
        "install": "get-started.html",
        "cite": "index.html",
        "evaluate": "guides/evaluate.html",
        "alignment": "guides/alignment.html",
        "segmentation": "guides/segment.html",
        "resume": "guides/training-runs.html",
        "GPU": "guides/gpu.html",
        "create_model": "api/zoo.html",
        "ghosts": "troubleshooting.html",
        "offline": "guides/offline.html",
        "air-gapped": "guides/offline.html",
        "GUI": "guides/demo.html",
        "RTSP": "guides/live.html",
        "LabelMe": "guides/training-data.html",
        "commercial use": "index.html",
        "Jetson": "get-started.html",
    }
    answers = search(*expected)
    assert {query: pages[:3] for query, pages in answers.items() if expected[query] not in pages[:3]} == {}


@pytest.mark.slow
def test_search_finds_error_messages(search: Callable[..., dict[str, list[str]]]) -> None:
    answers = search(*(message.replace("…", "data/image_1.png") for message in MESSAGES))
    hidden = [message for message, pages in answers.items() if "troubleshooting.html" not in pages[:3]]
    assert len(hidden) < len(answers) / 5, hidden
    message = "the images of a pair must be aligned pixel by pixel"
    assert search(message)[message][0] == "troubleshooting.html"


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
@pytest.mark.parametrize(
    ("text", "copied"),
    [
        (">>> for k in (1, 2):\n...     k\n...\n1\n2\n>>> k >> 1\n1\n", "for k in (1, 2):\n    k\n\nk >> 1"),
        ("gffusion models >>> models.txt\n...\n", "undefined"),  # the theme copies all of it
    ],
)
def test_copied_sessions_have_no_prompts_and_outputs(text: str, copied: str) -> None:
    arguments = ("node", "-e", COPY, str(ROOT / "docs/javascripts/copy-sessions.js"), text)
    assert subprocess.run(arguments, capture_output=True, text=True, check=True).stdout == f"{copied}\n"


@pytest.mark.slow
def test_headings_are_nested(site: Path) -> None:
    for page in site.rglob("*.html"):
        levels = [int(level) for level in re.findall(r"<h([1-6])\b", page.read_text(encoding="utf-8"))]
        assert levels[:1] == [1], page
        assert all(below <= above + 1 for above, below in pairwise(levels)), page
    reference = (site / "api/models.html").read_text(encoding="utf-8")
    nested = ('<h2 id="model"', '<h3 id="gffusion.GFFusionModel"', '<h4 id="gffusion.GFFusionModel.forward"')
    assert [part for part in nested if part not in reference] == []


@pytest.mark.slow
def test_titles_and_descriptions_tell_pages_apart(site: Path) -> None:
    texts = [page.read_text(encoding="utf-8") for page in site.rglob("*.html") if page.name != "404.html"]
    for pattern in ("<title>(.*)</title>", '<meta name="description" content="([^"<]*)">'):
        found = [re.findall(pattern, text) for text in texts]
        assert [values for values in found if len(values) != 1] == []
        assert [value for value, count in Counter(value for (value,) in found).items() if count > 1] == []


@pytest.mark.slow
def test_types_formulas_and_messages_are_marked_for_the_style_sheet(site: Path) -> None:
    style = (site / "stylesheets/site.css").read_text(encoding="utf-8")
    assert {".formula", ".messages", "code.word"} <= set(re.findall(r"\S*\.(?:formula|messages|word)\b", style))
    models = (site / "api/models.html").read_text(encoding="utf-8")
    assert "(<code" in models and "<em>optional</em>" in models
    assert re.findall(r"<code[^>]*>[^<]*`[^<]*</code>", models) == []
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert text.count('display="block"') == len(
            re.findall(r'<div class="formula"><math[^>]* display="block"', text)
        )
    assert '<div class="highlight">' not in (site / "troubleshooting.html").read_text(encoding="utf-8")

"""The metadata of the package on PyPI agree with the files that repeat them."""

import tomllib
from pathlib import Path

import yaml

from gffusion import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def test_citation_names_the_version_the_license_and_the_authors() -> None:
    assert CITATION["version"] == __version__
    assert CITATION["license"] == PROJECT["license"]
    assert CITATION["authors"] == PROJECT["authors"]


def test_addresses_are_those_of_the_site_and_the_repository() -> None:
    site = dict(
        line.split(": ", 1)
        for line in (ROOT / "mkdocs.yml").read_text(encoding="utf-8").splitlines()
        if line.startswith(("site_url: ", "repo_url: "))
    )
    urls = PROJECT["urls"]
    assert urls["Documentation"] == site["site_url"]
    assert urls["Homepage"] == urls["Source"] == site["repo_url"]
    assert urls["Issues"] == f"{site['repo_url']}/issues"
    file = urls["Changelog"].removeprefix(f"{site['repo_url']}/blob/main/")
    assert (ROOT / file).is_file()

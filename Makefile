.PHONY: style check docs test test-fast

WORKERS ?= 2

style: # fix what can be fixed, and format
	ruff check --fix .
	ruff format .

check: # lint, types, import contracts, spelling, metadata
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	codespell
	validate-pyproject pyproject.toml

docs: # the site, in site/: needs the extra `docs`, and no network; not `--quiet`, with which `--strict` lets warnings pass
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict

test: # all tests, and the examples in docstrings
	pytest -n $(WORKERS)

test-fast: # every folder, in under three minutes on two cores
	pytest -n $(WORKERS) -m "not slow and not processes and not hub"

"""GFFusion: all files that travel to the Hub as remote code. They import one another and nothing else of the package."""

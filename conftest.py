"""Import the package regularly before pytest collects its docstrings.

`--doctest-modules` executes modules without marking them as initializing, which `gffusion.inference.registration` relies on.
"""

import gffusion.inference.pipeline  # noqa: F401

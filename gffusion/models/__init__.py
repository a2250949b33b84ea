"""Model families, one folder each."""

from gffusion.utils import forks as forks  # for processes that are forked after the import

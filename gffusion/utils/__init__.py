"""Helpers that know nothing of images: atomic files, locks, progress, escaping, notes, and memory that runs out."""

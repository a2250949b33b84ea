"""Helpers that know nothing of images: atomic files, locks, progress, escaping, notes, cores, and memory that runs out."""

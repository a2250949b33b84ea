"""Run a model on pairs: arrays, files and the transformers pipeline."""

"""Model cards, publishing and inspection of repositories on the Hub."""

from .cards import Evaluation, FusionCard, TrainingData, non_default_settings, versions

__all__ = ["Evaluation", "FusionCard", "TrainingData", "non_default_settings", "versions"]

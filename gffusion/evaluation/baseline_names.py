"""Names of the baselines, for the help and for checks: their functions in `baselines.py` take time to import."""

BASELINE_NAMES = ("average", "maximum", "laplacian_pyramid", "centered_sum", "average_stretched")

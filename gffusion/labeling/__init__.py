"""Label maps made from bounding boxes."""

"""Make label maps for segmentation from bounding boxes."""

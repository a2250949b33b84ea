"""Tell image processors whose steps the fast paths may replace."""

from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor

_METHODS = ("__call__", "preprocess", "post_process_fusion")


def is_plain_processor(processor: GFFusionImageProcessor) -> bool:
    """Return whether images are prepared and restored as by [`GFFusionImageProcessor`]: no method is overridden, nor replaced on the object.

    Examples:
        >>> class Brighter(GFFusionImageProcessor):
        ...     def preprocess(self, *images, **options):
        ...         return super().preprocess(*images, **options)
        >>> is_plain_processor(GFFusionImageProcessor()), is_plain_processor(Brighter())
        (True, False)
    """
    methods = ((getattr(processor, name), getattr(GFFusionImageProcessor, name)) for name in _METHODS)
    return all(getattr(method, "__func__", None) is ours for method, ours in methods)

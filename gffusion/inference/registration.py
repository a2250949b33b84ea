"""Register GFFusion with the Auto classes and pipelines of transformers, without importing transformers.

Each registration is deferred until its module of transformers is imported: registration needs our model class, whose
import takes 4.9 s of CPU time (torch 2.13, transformers 5.23); `import gffusion` and `gffusion --help` take 0.06 s
without it.
"""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


def _register_config() -> None:
    from transformers import AutoConfig

    from gffusion.models.gffusion.configuration_gffusion import GFFusionConfig

    AutoConfig.register(GFFusionConfig.model_type, GFFusionConfig, exist_ok=True)


def _register_model() -> None:
    from transformers import AutoModel

    from gffusion.models.gffusion.configuration_gffusion import GFFusionConfig
    from gffusion.models.gffusion.modeling_gffusion import GFFusionModel

    AutoModel.register(GFFusionConfig, GFFusionModel, exist_ok=True)


def _register_image_processor() -> None:
    from transformers import AutoImageProcessor

    from gffusion.models.gffusion.configuration_gffusion import GFFusionConfig
    from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor

    AutoImageProcessor.register(GFFusionConfig, image_processor_classes={"pil": GFFusionImageProcessor}, exist_ok=True)


def _register_pipeline() -> None:
    from transformers import AutoModel
    from transformers.pipelines import PIPELINE_REGISTRY

    from gffusion.zoo import locate

    from .pipeline import TASK, ImageFusionPipeline

    if TASK not in PIPELINE_REGISTRY.get_supported_tasks():
        PIPELINE_REGISTRY.register_pipeline(
            TASK,
            pipeline_class=ImageFusionPipeline,
            pt_model=AutoModel,
            default={"model": (locate("gffusion-tiny"), None)},  # name and revision
            type="image",
        )


# Module of transformers -> registration to run after its import.
_REGISTRATIONS: dict[str, Callable[[], None]] = {
    "transformers.models.auto.configuration_auto": _register_config,
    "transformers.models.auto.modeling_auto": _register_model,
    "transformers.models.auto.image_processing_auto": _register_image_processor,
    "transformers.pipelines": _register_pipeline,
}

# Our own modules import these, and cannot be imported while one of these is initializing, so registration is retried
# after each.
_PREREQUISITES = (
    "transformers.configuration_utils",
    "transformers.modeling_utils",
    "transformers.image_processing_utils",
    "transformers.models.clip",
    "transformers.models.dinov2",
    "transformers.pipelines.base",
    "gffusion.",
)

_done: set[str] = set()


def register_with_transformers() -> None:
    """Register with the modules of transformers that are already imported, and watch for the others."""
    if not any(isinstance(finder, _ImportWatcher) for finder in sys.meta_path):
        sys.meta_path.insert(0, _ImportWatcher())
    _register_ready()


def _is_watched(name: str) -> bool:
    return name in _REGISTRATIONS or name.startswith(_PREREQUISITES)


def _being_imported(name: str) -> bool:
    return bool(getattr(getattr(sys.modules.get(name), "__spec__", None), "_initializing", False))


def _register_ready(finished: str = "") -> None:
    """Run the registrations whose module is imported, unless a required module is still initializing."""
    if any(_being_imported(name) for name in list(sys.modules) if name != finished and _is_watched(name)):
        return
    for name, register in _REGISTRATIONS.items():
        if name in sys.modules and name not in _done:
            _done.add(name)
            register()


class _ImportWatcher(MetaPathFinder):
    """Call `_register_ready` after the regular import of each watched module."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not _is_watched(fullname):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            _notify_after(spec.loader)
        return spec


def _notify_after(loader: Loader) -> None:
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        execute(module)
        _register_ready(finished=module.__name__)

    loader.exec_module = exec_module  # type: ignore[method-assign]

"""A callback for the Trainer of transformers, which does not tell every dataset its epoch."""

from typing import Any

from torch.utils.data import ConcatDataset, DataLoader, Subset
from transformers import TrainerCallback, TrainerState


class SetEpochCallback(TrainerCallback):
    """Call `set_epoch` of the training dataset, or of those in a `ConcatDataset` or `Subset`, before each epoch, for other random crops in each.

    With several processes, or in a training that is resumed inside an epoch, the `Trainer` of transformers sets the epoch of the
    sampler only, so that the random transforms of a [`FusionDataset`] would do the same in every epoch.

    Raises:
        ValueError: When the training begins, if neither its dataset nor one in it has `set_epoch`.

    Examples:
        >>> from torch import nn
        >>> from transformers import Trainer
        >>> trainer = Trainer(nn.Linear(1, 1), callbacks=[SetEpochCallback()])
    """

    def on_epoch_begin(
        self, args: Any, state: TrainerState, control: Any, train_dataloader: DataLoader[Any] | None = None, **_: Any
    ) -> None:
        """Set the epoch, which `state` has as a fraction if it is resumed inside."""
        dataset: Any = train_dataloader.dataset if train_dataloader is not None else None
        parts = _list_parts(dataset)
        if not parts:
            raise ValueError(
                f"The training dataset, a {type(dataset).__name__}, has no `set_epoch`: leave SetEpochCallback out, or give it one."
            )
        for part in parts:
            part.set_epoch(int(state.epoch or 0))


def _list_parts(dataset: Any) -> list[Any]:
    """Return a dataset itself if it has `set_epoch`, or else those in it that have one."""
    if hasattr(dataset, "set_epoch"):
        return [dataset]
    if isinstance(dataset, Subset):
        return _list_parts(dataset.dataset)
    joined = dataset.datasets if isinstance(dataset, ConcatDataset) else ()
    return [part for inner in joined for part in _list_parts(inner)]

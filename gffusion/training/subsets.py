"""Subsets of a FusionDataset, as `torch.utils.data.random_split` makes them."""

from typing import Any

from torch.utils.data import ConcatDataset, Subset

from gffusion.data import FusionDataset
from gffusion.models.gffusion.infrared_options import InfraredOptions


def unwrap_subset(dataset: Any) -> Any:
    """Return the pairs of a `Subset` of a [`FusionDataset`] as a `FusionDataset`; other datasets are returned unchanged.

    The subset itself has neither epochs nor the infrared options that are saved with the weights.
    """
    if type(dataset) is Subset:
        whole = unwrap_subset(dataset.dataset)
        return whole.select(dataset.indices) if isinstance(whole, FusionDataset) else dataset
    return dataset


def check_joined(dataset: Any) -> None:
    """Check that no `ConcatDataset` hides what the trainer must tell its parts, or save with the weights.

    Raises:
        ValueError: If a part is a [`FusionDataset`] with a transform or infrared options.
    """
    if isinstance(dataset, Subset):
        check_joined(dataset.dataset)
    if not isinstance(dataset, ConcatDataset):
        return
    for part in map(unwrap_subset, dataset.datasets):
        check_joined(part)
        if isinstance(part, FusionDataset) and (
            part.transform is not None or part.infrared_options != InfraredOptions()
        ):
            raise ValueError(
                "A ConcatDataset hides the epochs of transforms and the infrared options of a FusionDataset: join the folders "
                'in one, such as FusionDataset(["data/a", "data/b"]), or leave transform and infrared options out.'
            )

"""Subsets of a FusionDataset, as `torch.utils.data.random_split` makes them."""

from typing import Any

from torch.utils.data import ConcatDataset, Subset

from gffusion.data import FusionDataset


def unwrap_subset(dataset: Any) -> Any:
    """Return the pairs of a `Subset` of a [`FusionDataset`] as a `FusionDataset`; other datasets are returned unchanged.

    The subset itself has neither epochs nor the infrared options that are saved with the weights.

    Raises:
        ValueError: If a part of a `ConcatDataset` is a `FusionDataset`, or a `Subset` has an index that its dataset does not have.
    """
    if type(dataset) is Subset:
        whole = unwrap_subset(dataset.dataset)
        if wrong := [int(index) for index in dataset.indices if not -len(whole) <= index < len(whole)]:
            raise ValueError(
                f"A Subset has the index {wrong[0]}, but its dataset has {len(whole)} items: give it indices from 0 to {len(whole) - 1}."
            )
        return whole.select(dataset.indices) if isinstance(whole, FusionDataset) else dataset
    if isinstance(dataset, ConcatDataset) and any(
        isinstance(unwrap_subset(part), FusionDataset) for part in dataset.datasets
    ):
        raise ValueError(
            "A ConcatDataset hides the classes, sizes, epochs and infrared options of a FusionDataset: join the folders in one, "
            'such as FusionDataset(["data/a", "data/b"]), or the rows of datasets by `datasets.concatenate_datasets`.'
        )
    return dataset

"""Notes on what recipes and command lines do that their users may not expect."""

import os
from collections.abc import Iterator, Set

from gffusion.utils.cores import count_cores

from .arguments import FusionTrainingArguments

_OF_EVALUATIONS = (
    "eval_strategy", "eval_on_start", "eval_epochs", "eval_steps", "eval_metrics", "metric_for_best_model", "num_eval_images",
)  # fmt: skip


def limit_workers(training: FusionTrainingArguments) -> tuple[str, ...]:
    """Lower the number of workers to that of the usable cores, and return a note if it was larger."""
    wanted, cores = training.dataloader_num_workers, count_cores()
    if wanted <= cores:
        return ()
    training.dataloader_num_workers = cores
    return (
        f"`dataloader_num_workers` of the recipe is {wanted}, but this machine has {cores} usable cores: {cores} are used. "
        "To start more, give the option on the command line.",
    )


def find_consequences(training: FusionTrainingArguments, typed: Set[str], name: str) -> Iterator[str]:
    """Yield notes on what a recipe, which others can have written, deletes or publishes, unless the command line says so."""
    folder = training.output_dir
    overwrites = training.overwrite_output_dir and "overwrite_output_dir" not in typed
    if overwrites and os.path.isdir(folder) and os.listdir(folder):
        yield (
            f"`overwrite_output_dir` of the recipe {name} deletes the run in {folder}. To keep it, give another `output_dir` on the "
            "command line."
        )
    if training.push_to_hub and "hub_model_id" not in typed:
        yield (
            f"`hub_model_id` of the recipe {name} publishes the model as {training.hub_model_id} after the training. To only train, give "
            "--push_to_hub false."
        )


def find_unused(training: FusionTrainingArguments, typed: Set[str]) -> Iterator[str]:
    """Yield a note on typed options of the evaluation of a run without evaluation data; raise ValueError for a split."""
    if "eval_split" in typed:
        raise ValueError("`eval_split` needs `eval_data`, which can be the same folder as `train_data`.")
    unused = [f"`{name}`" for name in _OF_EVALUATIONS if name in typed and getattr(training, name) not in (0, "no")]
    if unused:
        verb = "is" if len(unused) == 1 else "are"
        yield f"without `eval_data`, there are no evaluations, and {', '.join(unused)} {verb} not used."

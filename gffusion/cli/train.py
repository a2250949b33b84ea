"""`gffusion train`: train a model with a recipe and options."""

import typer

from .errors import user_errors
from .quiet import quiet_libraries

# Recipe.parse defines the options and prints the help.
CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def train(context: typer.Context) -> None:
    """Train or fine-tune a model: `--config RECIPE`, and options that override it; `--help` lists them.

    Runs on one device; for several, use `accelerate launch -m gffusion train ...`. Ctrl-C finishes the step and writes a
    checkpoint, from which `--resume_from_checkpoint` continues. Exit code: 0 on success, 2 if the run cannot start,
    continue or be published.
    """
    from gffusion.training.recipe import Recipe  # here, to keep `gffusion --help` fast

    with user_errors():
        recipe = Recipe.parse(context.args, "gffusion train")
        quiet_libraries()
        from gffusion.training.building import build_trainer  # imports torch: after the options are checked

        trainer = build_trainer(recipe)
        for name, dataset in (("training", trainer.train_dataset), ("evaluation", trainer.eval_dataset)):
            if description := getattr(dataset, "range_description", None):
                trainer.accelerator.print(f"{name}: {description}")
        trainer.train()
        trainer.accelerator.print(f"best weights: {trainer.output_dir / 'best'}")

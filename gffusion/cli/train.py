"""`gffusion train`: a training run from a recipe and options."""

import typer

from .errors import user_errors
from .quiet import quiet_libraries

# The options are those of the recipe, which names and explains them itself.
CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def train(context: typer.Context) -> None:
    """Train or fine-tune a model: `--config RECIPE.yaml`, and options that win over it; `--help` lists them.

    One device. For several: `accelerate launch -m gffusion train ...`. Ctrl-C finishes the step and writes a checkpoint,
    from which `--resume` goes on. Exit code: 0 if all went well, 2 if the run could not begin, go on or be
    published.
    """
    with user_errors():
        from gffusion.training.recipe import Recipe

        quiet_libraries()
        recipe = Recipe.parse(context.args, "gffusion train")
        trainer = recipe.build_trainer()
        trainer.train(resume=recipe.resume)
        trainer.accelerator.print(f"best weights: {trainer.output_dir / 'best'}")

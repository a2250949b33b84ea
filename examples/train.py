"""Train GFFusion on pairs in folders: `accelerate launch examples/train.py --config funet`.

Every option of the recipe can be overridden on the command line, e.g. `--num_train_epochs 10 --output_dir /tmp/run`; `--help`
lists them all. `gffusion train` does the same on one device.
"""

import sys

from transformers.utils.logging import disable_progress_bar

from gffusion.training.recipe import Recipe


def main() -> None:
    """Train."""
    recipe = Recipe.parse(sys.argv[1:])
    disable_progress_bar()  # of the weights that are loaded and saved; the training keeps its own
    trainer = recipe.build_trainer()
    trainer.train()
    trainer.accelerator.print(f"best weights: {trainer.output_dir / 'best'}")


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError, FloatingPointError) as error:
        print(f"train.py: error: {error}", file=sys.stderr)
        sys.exit(2)

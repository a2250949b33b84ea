"""Train GFFusion on pairs in folders: `accelerate launch examples/train.py --config funet --train_data DIR`.

Options override the recipe, such as `--num_train_epochs 10 --output_dir /tmp/run`; `--help` lists them. `gffusion train`
does the same, and `accelerate launch -m gffusion train` on several devices.
"""

import sys

from gffusion.training.recipe import Recipe

if __name__ == "__main__":
    recipe = Recipe.parse(sys.argv[1:])
    try:
        from gffusion.training.building import build_trainer  # imports torch: after the options are checked

        trainer = build_trainer(recipe)
        trainer.train()
    except (OSError, ValueError, FloatingPointError) as error:
        print(f"train.py: error: {error}", file=sys.stderr)
        sys.exit(2)
    trainer.accelerator.print(f"best weights: {trainer.output_dir / 'best'}")
    trainer.accelerator.state.destroy_process_group()  # its threads would race with the end of Python

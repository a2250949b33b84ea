"""What to use instead of options that `gffusion train` does not have."""

import difflib
from collections.abc import Iterable

_FRAME = "labels lie in the frame of the visible image, which training keeps; leave it out"
_PROCESSOR = "the image processor is that of train_dataset, and saved with the weights; leave it out"
_ADVICE = {
    "crop": _FRAME,
    "reference": _FRAME,
    # of transformers
    "callbacks": "progress goes to the trackers of report_to; leave it out",
    "compute_metrics": "set eval_metrics",
    "data_collator": "items are dicts of images of one size, which form batches; leave it out",
    "optimizers": "Adam is used, as in the paper; set learning_rate",
    "processing_class": _PROCESSOR,
    "tokenizer": _PROCESSOR,
    "load_best_model_at_end": "the folder best in output_dir has the best weights; leave it out",
    "lr_scheduler_type": "the schedule is that of the paper; see head_start_epoch",
    "max_steps": "a run has whole epochs; set num_train_epochs",
    "per_device_eval_batch_size": "an evaluation takes one pair at a time; leave it out",
    "save_strategy": "a checkpoint is written after each epoch, every save_steps steps and whenever best is replaced",
    "save_total_limit": "only the newest checkpoint is kept; leave it out",
    "weight_decay": "Adam has no weight decay here, as in the paper; leave it out",
}


def refuse_unknown(kind: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise TypeError for a name in `given` that is not in `known`, with what to use instead.

    Examples:
        >>> refuse_unknown("FusionTrainer", ["callbacks"], ["model"])
        Traceback (most recent call last):
        TypeError: FusionTrainer has no option 'callbacks': progress goes to the trackers of report_to; leave it out
    """
    known = [*known]
    for name in given:
        if name not in known:
            allowed = f". Allowed are {', '.join(known)}"
            raise TypeError(f"{kind} has no option {name!r}{advise(name, known) or allowed}")


def advise(name: str, known: Iterable[str], prefix: str = "") -> str | None:
    """Return what to use instead of an unknown option, or `None` if no option is like it.

    Examples:
        >>> advise("learning_rte", ["seed", "learning_rate"], "--")
        ', did you mean --learning_rate?'
        >>> advise("max_steps", [])
        ': a run has whole epochs; set num_train_epochs'
    """
    if name in _ADVICE:
        return f": {_ADVICE[name]}"
    near = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {prefix}{near[0]}?" if near else None

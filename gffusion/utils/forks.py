"""Let forked processes, such as the workers of a web server, compute with one thread, as workers of a DataLoader do.

OpenMP's threads do not exist in a forked process, whose first operation with several of them would wait for ever. They start in
any long operation of torch, also in loading a model, so importing this module is enough.
"""

import os
import sys


def _use_one_thread() -> None:
    if "torch" in sys.modules:  # not imported here, because reading a configuration does not need it
        sys.modules["torch"].set_num_threads(1)


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_use_one_thread)

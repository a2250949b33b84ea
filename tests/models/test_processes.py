"""The first of several processes, also where the launcher sets no variables."""

import pytest
from torch import distributed

from gffusion.models.gffusion.processes import is_main_process


def test_main_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for rank, expected in {"": True, "0": True, "1": False}.items():
        monkeypatch.setenv("RANK", rank)
        assert is_main_process() == expected
    monkeypatch.delenv("RANK")
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        assert is_main_process()
        monkeypatch.setattr(distributed, "get_rank", lambda: 1)  # as in processes of `accelerate.debug_launcher`
        assert not is_main_process()
    finally:
        monkeypatch.undo()
        distributed.destroy_process_group()

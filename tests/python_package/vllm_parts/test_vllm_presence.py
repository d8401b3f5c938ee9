"""Workers that have the plugin know of those that do not. No vLLM here; the store is torch's."""

from __future__ import annotations

import threading

import pytest
from qjl.errors import Unsupported
from qjl.vllm.presence import announce, check_presence


def test_workers_without_the_plugin_are_named() -> None:
    store = pytest.importorskip("torch.distributed").HashStore()
    announce(store, 0)
    check_presence(store, 1)
    with pytest.raises(Unsupported, match=r"found no qjl in workers \[1, 2\] of 3, wanted it in all"):
        check_presence(store, 3, seconds=0.0)
    for rank in (2, 1):
        announce(store, rank)
    check_presence(store, 3)


def test_workers_that_start_later_are_waited_for() -> None:
    store = pytest.importorskip("torch.distributed").HashStore()
    announce(store, 0)
    later = threading.Timer(0.3, announce, (store, 1))
    later.start()
    check_presence(store, 2)
    later.join()

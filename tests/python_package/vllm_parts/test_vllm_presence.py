"""Workers that have the plugin know of those that do not. No vLLM here; the store is torch's."""

from __future__ import annotations

import pytest
from qjl.errors import Unsupported
from qjl.vllm.presence import announce, check_presence


def test_workers_without_the_plugin_are_named() -> None:
    store = pytest.importorskip("torch.distributed").HashStore()
    announce(store, 0)
    check_presence(store, 1)
    with pytest.raises(Unsupported, match=r"found no qjl in workers \[1, 2\] of 3, wanted it in all"):
        check_presence(store, 3)
    for rank in (2, 1):
        announce(store, rank)
    check_presence(store, 3)

"""Handles look like the tensors that they stand for and give their numbers to whoever computes with them; they have no memory."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from qjl import QjlError
from qjl.hf import QJLCache
from qjl.hf.attention import qjl_attention
from qjl.hf.handles import KVHandle
from tiny_models import model_of

CONFIG = model_of("llama").config


@pytest.fixture
def pair():
    cache = QJLCache(CONFIG, "f16")
    first, second = (torch.randint(-31, 32, (2, 2, tokens, 64)) / 8 for tokens in (140, 3))
    cache.update(first, -first, 0)
    handles = cache.update(second, -second, 0)
    yield cache, handles, torch.cat([first, second], 2)


def test_it_looks_like_the_whole_tensor(pair):
    _, (keys, values), dense = pair
    for handle in (keys, values):
        assert isinstance(handle, KVHandle) and isinstance(handle, torch.Tensor)
        assert handle.shape == dense.shape and handle.dtype == dense.dtype and handle.device == dense.device
    assert repr(keys) == "KVHandle(keys, shape=(2, 2, 143, 64), dtype=torch.float32)"


def test_an_update_stores_the_chunk_before():
    """In every layer: the first one's update does it for all, another's for itself."""
    cache = QJLCache(CONFIG, "f16")
    for layer in (0, 1):
        first, second = (torch.randint(-31, 32, (1, 2, tokens, 64)) / 8 for tokens in (140, 3))
        cache.update(first, -first, layer)
        keys, values = cache.update(second, -second, layer)
        assert torch.equal(keys + 0, torch.cat([first, second], 2)) and torch.equal(values + 0, -(keys + 0))


def test_operations_see_the_numbers(pair):
    _, (keys, values), dense = pair
    assert torch.equal(keys[:, :, 5:9].transpose(2, 3) @ torch.ones(4, 1), dense[:, :, 5:9].transpose(2, 3) @ torch.ones(4, 1))
    assert torch.equal(torch.cat([keys, values], 1), torch.cat([dense, -dense], 1))
    assert np.array_equal(np.asarray(keys), dense.numpy())
    for copied in (copy.deepcopy(keys), pickle.loads(pickle.dumps(keys))):
        assert type(copied) is torch.Tensor and torch.equal(copied, dense)


def test_it_has_no_memory_to_give(pair):
    cache, (keys, values), _ = pair
    with pytest.raises(QjlError, match="no storage"):
        torch.utils.dlpack.from_dlpack(keys)
    kv, rows = cache.session.stores[0].kv, cache.session.stores[0].rows
    lengths = [kv.num_tokens(row, 0) for row in rows]
    with pytest.raises((QjlError, RuntimeError, TypeError)):  # the native door alone
        kv.append(rows, 0, keys, values)
    assert [kv.num_tokens(row, 0) for row in rows] == lengths


def test_keys_and_values_must_be_of_one_update(pair):
    cache, (keys, _), dense = pair
    query = torch.zeros(2, 4, 3, 64)
    with pytest.raises(QjlError, match="both handles of one update"):
        qjl_attention(torch.nn.Module(), query, keys, -dense, None)
    one = torch.zeros(2, 2, 1, 64)
    newer = cache.update(one, one, 0)
    with pytest.raises(QjlError, match="143 columns, wanted the last one of layer 0: 144"):
        qjl_attention(torch.nn.Module(), query, keys, keys, None)
    assert newer[0].shape[2] == 144
    with pytest.raises(QjlError, match="queries have batch and tokens"):
        qjl_attention(torch.nn.Module(), query, newer[0], newer[1], None)

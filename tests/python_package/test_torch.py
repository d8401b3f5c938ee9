"""Torch tensors of the host go in where they lie and come out as torch tensors; what has no memory of its own is refused."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import qjl

torch = pytest.importorskip("torch", reason="torch is absent; pip install 'qjl[hf]' brings it")


def tensors(*shapes: tuple[int, ...], dtype: Any = None) -> list[Any]:
    """Normal numbers that bfloat16 holds, so that every type means the same."""
    random = torch.Generator().manual_seed(3)
    return [torch.randn(shape, generator=random).to(torch.bfloat16).to(dtype or torch.float32) for shape in shapes]


@pytest.fixture
def filled() -> tuple[qjl.KvCache, list[int]]:
    cache = qjl.KvCache(1, 2, 64, "k3v2", threads=1)
    ids = [cache.create(), cache.create()]
    keys, values = tensors((2, 2, 200, 64), (2, 2, 200, 64))
    cache.append(ids, 0, keys, values)
    return cache, ids


def test_the_same_bits_as_numpy(filled: tuple[qjl.KvCache, list[int]]) -> None:
    cache, ids = filled
    arrays = tensors((2, 4, 3, 64), (2, 2, 3, 64), (2, 2, 3, 64))
    wanted, wanted_lse = cache.attend(0, arrays[0].numpy(), ids, keys=arrays[1].numpy(), values=arrays[2].numpy(), lse=True)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        q, k, v = (x.to(dtype) for x in arrays)
        out, lse = cache.attend(0, q, ids, keys=k, values=v, lse=True)
        assert isinstance(out, torch.Tensor) and out.dtype == lse.dtype == torch.float32
        np.testing.assert_array_equal(out.numpy(), wanted)
        np.testing.assert_array_equal(lse.numpy(), wanted_lse)
    # As a projection leaves them: [batch, tokens, heads, channels], turned.
    q, k, v = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in arrays)
    np.testing.assert_array_equal(cache.attend(0, q, ids, keys=k, values=v).numpy(), wanted)
    with torch.inference_mode():
        np.testing.assert_array_equal(cache.attend(0, q, ids, keys=k, values=v).numpy(), wanted)
    merged = qjl.merge(
        torch.from_numpy(wanted), torch.from_numpy(wanted_lse), torch.from_numpy(wanted), torch.from_numpy(wanted_lse)
    )
    assert all(isinstance(x, torch.Tensor) for x in merged)
    # Twice the same tokens weigh alike: (x + x) / 2 = x, and ln 2 more.
    np.testing.assert_array_equal(merged[0].numpy(), wanted)
    np.testing.assert_allclose(merged[1].numpy(), wanted_lse + np.log(2.0), rtol=0, atol=1e-6)


def test_a_bfloat16_cache_keeps_bfloat16(filled: tuple[qjl.KvCache, list[int]]) -> None:
    cache = qjl.KvCache(1, 2, 64, tail_dtype=torch.bfloat16)
    assert cache.tail_dtype == "bfloat16"
    sequence = cache.create()
    (keys,) = tensors((2, 5, 64), dtype=torch.bfloat16)
    cache.append(sequence, 0, keys * 1e30, keys)  # far beyond float16
    read = cache.read(sequence, 0, 0, 5)
    np.testing.assert_array_equal(read[0], (keys * 1e30).float().numpy())
    np.testing.assert_array_equal(read[1], keys.float().numpy())
    with pytest.raises(qjl.InvalidArgument, match=r"\[append\] keys hold"):
        filled[0].append(filled[1][0], 0, keys * 1e30, keys)


def test_long_bfloat16_chunks_round_no_more_than_bfloat16_does() -> None:
    """Weights are rounded to bf16 (2^-9 of each at most, so 2^-8 max|v| of their mean, twice for the sums' order), nothing else is."""
    cache = qjl.KvCache(1, 2, 64, "f16", tail_dtype="bfloat16")
    sequence = cache.create()
    q, k, v = tensors((1, 4, 64, 64), (1, 2, 64, 64), (1, 2, 64, 64), dtype=torch.bfloat16)
    out = cache.attend(0, q, [sequence], keys=k, values=v)
    exact = cache.attend(0, q.float(), [sequence], keys=k, values=v)
    assert (out - exact).abs().max() <= 2 * 2**-8 * v.abs().max()


class Handle(torch.Tensor):
    """A tensor without storage, as qjl.hf hands out: its address is 0 and DLPack gives null."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, shape: tuple[int, ...]) -> Handle:
        return torch.Tensor._make_wrapper_subclass(cls, shape, dtype=torch.float32, device=torch.device("cpu"))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError("nobody may compute with it here")


def test_no_memory(filled: tuple[qjl.KvCache, list[int]]) -> None:
    cache, ids = filled
    q, k = tensors((2, 4, 3, 64), (2, 2, 3, 64))

    def refused(text: str, queries: Any = q, keys: Any = k, values: Any = k) -> None:
        with pytest.raises(qjl.InvalidArgument, match=re.escape(text)):
            cache.attend(0, queries, ids, keys=keys, values=values)

    refused("keys have a null address (a tensor without storage), wanted memory", keys=Handle((2, 2, 3, 64)))
    refused("values have a null address", values=Handle((2, 2, 3, 64)))
    refused("queries have a null address", queries=Handle((2, 4, 3, 64)))
    with pytest.raises(qjl.InvalidArgument, match=re.escape("[save] x have a null address")):
        cache.save("none.qjlkv.safetensors", exact={"x": Handle((2, 3))})
    refused("queries are of type Tensor and show no memory", queries=q.to("meta"))
    refused("keys are of type", keys=k.to_sparse())
    refused("keys need gradients, wanted a tensor without: detach() gives one", keys=k.clone().requires_grad_())
    refused("keys are a view whose memory has the other sign (is_neg()), wanted numbers as they are", keys=torch._neg_view(k))
    refused("values are a view whose memory has the other sign", values=torch.complex(k, k).conj().imag)
    refused("keys are torch.float64, wanted float32, float16 or bfloat16", keys=k.double())
    refused("values have channels 3 numbers apart, wanted contiguous ones", values=k.transpose(2, 3).contiguous().transpose(2, 3))
    assert [cache.num_tokens(sequence) for sequence in ids] == [200, 200]

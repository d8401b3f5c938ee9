"""Only tokens that a mask shows are stored, and a cache refuses a mask that disagrees with what it stored."""

from __future__ import annotations

import pytest
import torch
from qjl import InvalidArgument, Unsupported
from qjl.hf import QJLCache, enabled
from qjl.hf.exact import exact_attention
from qjl.hf.forward import cache_argument
from qjl.hf.layer import Softmax
from tiny_models import model_of, padded, prompt


def forward(model, cache, tokens, mask, positions=None):
    named = {cache_argument(model): cache}
    return model(tokens, attention_mask=mask, position_ids=positions, **named).logits


def lengths(cache):
    store = cache.session.stores[0]
    return [store.kv.num_tokens(row) for row in store.rows]


def test_holes_and_padding_on_both_sides_never_reach_a_page():
    """Each row gives what its shown tokens give alone, but for the order of fp32 sums: logits of order 10 to 2^-24 * sqrt(300)."""
    model = model_of("llama")
    tokens = prompt(3, 40)
    mask = torch.ones_like(tokens)
    mask[0, :7] = 0
    mask[1, 10:15] = 0
    mask[2, 33:] = 0
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    new, wide = prompt(3, 1, seed=2), torch.cat([mask, torch.ones(3, 1, dtype=mask.dtype)], 1)
    cache = QJLCache(model.config, "f16")
    with enabled(model):
        found = [forward(model, cache, tokens, mask, positions), forward(model, cache, new, wide, mask.sum(1, keepdim=True))]
        assert lengths(cache) == [34, 36, 34]
        for row in range(3):
            alone, shown = QJLCache(model.config, "f16"), mask[row].bool()
            wanted = [forward(model, alone, tokens[row : row + 1, shown], None), forward(model, alone, new[row : row + 1], None)]
            torch.testing.assert_close(found[0][row, shown], wanted[0][0], atol=1e-4, rtol=0)
            torch.testing.assert_close(found[1][row], wanted[1][0], atol=1e-4, rtol=0)


def test_a_row_may_be_hidden_for_a_whole_chunk():
    model = model_of("llama")
    batch = padded(prompt(2, 50), [0, 45])
    cache, whole = QJLCache(model.config, "f16"), QJLCache(model.config, "f16")
    with enabled(model):
        for begin, end in ((0, 20), (20, 50)):
            last = forward(model, cache, batch["input_ids"][:, begin:end], batch["attention_mask"][:, :end])
        wanted = forward(model, whole, batch["input_ids"], batch["attention_mask"])
    assert lengths(cache) == lengths(whole) == [50, 5]
    torch.testing.assert_close(last[:, -1], wanted[:, -1], atol=1e-4, rtol=0)  # default positions: column numbers in both


@pytest.fixture
def filled():
    model = model_of("llama")
    cache = QJLCache(model.config, "k3v2")
    batch = padded(prompt(2, 30), [0, 4])
    with enabled(model):
        forward(model, cache, batch["input_ids"], batch["attention_mask"])
        yield model, cache, batch["attention_mask"]


def wider(mask):
    return torch.cat([mask, torch.ones(2, 1, dtype=mask.dtype)], 1)


@pytest.mark.parametrize(
    ("row", "column", "value", "text"),
    [(0, 3, 0, "hides column 3 of row 0"), (1, 20, 0, "hides column 20 of row 1"), (1, 2, 1, "shows column 2 of row 1")],
)
def test_a_mask_that_changes_its_mind(filled, row, column, value, text):
    model, cache, mask = filled
    mask = wider(mask)
    mask[row, column] = value
    with pytest.raises(InvalidArgument, match=text):
        forward(model, cache, prompt(2, 1), mask)
    check_unharmed(filled)


def test_no_mask_over_left_out_tokens(filled):
    model, cache, _ = filled
    with pytest.raises(InvalidArgument, match="4 columns of this cache were left out"):
        forward(model, cache, prompt(2, 1), None)
    check_unharmed(filled)


def test_masks_of_single_queries(filled):
    model, cache, _ = filled
    with pytest.raises(Unsupported, match=r"mask has shape \[2, 1, 1, 31\]"):
        forward(model, cache, prompt(2, 1), torch.ones(2, 1, 1, 31, dtype=torch.bool))
    check_unharmed(filled)


def test_a_mask_of_another_length(filled):
    model, cache, mask = filled
    with pytest.raises(InvalidArgument, match=r"mask has shape \[2, 30\], wanted \[2, 31\]"):
        forward(model, cache, prompt(2, 1), mask)
    check_unharmed(filled)


def check_unharmed(filled):
    """After an error the cache is as it was, and goes on."""
    model, cache, mask = filled
    assert cache.get_seq_length() == 30
    assert lengths(cache) == [30, 26]
    forward(model, cache, prompt(2, 1), wider(mask))
    assert lengths(cache) == [31, 27]


def test_masks_may_be_written_into_after_the_call(filled):
    model, cache, mask = filled
    mask = wider(mask).bool()  # a mask of bool is handed on as it is
    forward(model, cache, prompt(2, 1), mask)
    mask[:] = True
    with pytest.raises(InvalidArgument, match="shows column 0 of row 1"):
        forward(model, cache, prompt(2, 1), wider(mask) & torch.tensor([[True] * 32, [True] * 31 + [False]]))


def test_what_a_layer_cannot_do():
    cache = QJLCache(model_of("llama").config, "f16")
    layer = cache.layers[0]
    cache.update(torch.ones(1, 2, 5, 64), torch.ones(1, 2, 5, 64), 0)
    mask = torch.tensor([[0, 1, 1, 1, 1]])
    with pytest.raises(Unsupported, match="has a window of 3 and hidden tokens"):
        layer.attend(torch.ones(1, 4, 5, 64), mask, Softmax(window=3))
    with pytest.raises(Unsupported, match="wanted offloading=False"):
        layer.offload()
    rows = torch.ones(1, 2, 5, 64)
    named = {"scale": None, "soft_cap": None, "window": 3, "sinks": None}
    with pytest.raises(Unsupported, match="mask has 4 columns, wanted 5 or more"):
        exact_attention(torch.nn.Module(), torch.ones(1, 4, 1, 64), rows, rows, mask[:, 1:], **named)

"""Saved caches: another process goes on with the same bits, the program's order of channels is read, and wrong files are refused."""

from __future__ import annotations

import copy
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import transformers as tf
from qjl import BadFile, CacheFile, InvalidArgument, KvCache, Unsupported
from qjl.hf import QJLCache, enabled
from qjl.hf.config import compressed_layers
from qjl.hf.file import MAGNITUDES, NOTE
from qjl.hf.forward import cache_argument
from qjl.hf.layer import Softmax
from tiny_models import BASE, model_of, padded, prompt

FOLLOW = """
import sys, torch
sys.path.insert(0, sys.argv[3])
from tiny_models import model_of, prompt
from qjl.hf import QJLCache, enable
from qjl.hf.forward import cache_argument
torch.set_grad_enabled(False)
for family in sys.argv[1].split(","):
    model = model_of(family)
    enable(model)
    cache = QJLCache.load(f"{sys.argv[2]}/{family}.qjlkv.safetensors", model.config)
    rows = len(cache.session.stores[0].rows)
    mask = torch.cat([cache.layers[-1].shown, torch.ones(rows, 3, dtype=torch.bool)], 1)
    out = model(prompt(rows, 3, seed=2), attention_mask=mask, **{cache_argument(model): cache}).logits
    sys.stdout.buffer.write(out.numpy().tobytes())
"""


def filled(family: str, cache_type: str = "k3v2", tokens: int = 300):
    model = model_of(family)
    batch = padded(prompt(2, tokens), [0, 31])
    cache = QJLCache(model.config, cache_type)
    with enabled(model):
        model(**batch, **{cache_argument(model): cache})
    return model, cache, batch


def test_another_process_goes_on_with_the_same_bits(tmp_path):
    families, wanted = ("llama", "gemma3"), b""
    for family in families:
        model, cache, batch = filled(family)
        path = tmp_path / f"{family}.qjlkv.safetensors"
        cache.save(path, token_ids=batch["input_ids"], model="tiny")
        mask = torch.cat([batch["attention_mask"], torch.ones(2, 3, dtype=torch.int64)], 1)
        with enabled(model):
            logits = model(prompt(2, 3, seed=2), attention_mask=mask, **{cache_argument(model): cache}).logits
        wanted += logits.numpy().tobytes()
        loaded = QJLCache.load(path, model.config)
        assert loaded.token_ids == [batch["input_ids"][0].tolist(), batch["input_ids"][1, 31:].tolist()]
    words = [sys.executable, "-c", FOLLOW, ",".join(families), tmp_path, str(__file__).rpartition("/")[0]]
    done = subprocess.run(words, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == wanted


def test_channels_in_the_programs_order(tmp_path):
    """Keys written with pairs as neighbours, as the program has llama's, read as the same keys: at f16 attention is equal but for the
    order of sums, scores below 64 * 4 * 2^-24."""
    config = model_of("llama").config
    _, compressed = compressed_layers(config, [])
    kv = KvCache(2, 2, 64, "f16", rope=compressed[0].rope.frequencies, rope_pairs="interleaved")
    row = kv.create()
    keys, values = (torch.randint(-31, 32, (2, 2, 200, 64)) / 8 for _ in range(2))
    for layer in range(2):
        neighbours = torch.stack([keys[layer, ..., :32], keys[layer, ..., 32:]], -1).flatten(-2)
        kv.append(row, layer, neighbours, values[layer])
    path = tmp_path / "program.qjlkv.safetensors"
    kv.save(path, token_ids=[list(range(201))])
    cache = QJLCache.load(path, config)
    assert cache.get_seq_length() == 200 and cache.token_ids == [list(range(201))]
    ours = QJLCache(config, "f16")
    for layer in range(2):
        ours.update(keys[layer][None], values[layer][None], layer)
    new, query = torch.randint(-31, 32, (2, 1, 2, 4, 64)) / 8, torch.randn(1, 4, 4, 64)
    for layer in range(2):
        found, wanted = cache.update(*new, layer), ours.update(*new, layer)
        for own, other in zip(found, wanted, strict=True):
            assert torch.equal(own + 0, other + 0)
        softmax = [each.layers[layer].attend(query, None, Softmax(0.125)) for each in (cache, ours)]
        torch.testing.assert_close(*softmax, atol=1e-4, rtol=0)
    again = tmp_path / "again.qjlkv.safetensors"
    cache.save(again)
    assert torch.equal(QJLCache.load(again, config).layers[0].dense(204)[0][0, :, :200], keys[0])


def test_the_programs_rows_end_together(tmp_path):
    config = model_of("llama").config
    kv = KvCache(2, 2, 64, "f16", rope=compressed_layers(config, [])[1][0].rope.frequencies)
    for count in (7, 4):
        row = kv.create()
        for layer in range(2):
            kv.append(row, layer, *np.ones((2, 2, count, 64), np.float32))
    path = tmp_path / "rows.qjlkv.safetensors"
    kv.save(path)
    assert QJLCache.load(path, config).layers[0].shown.tolist() == [[True] * 7, [False] * 3 + [True] * 4]


def test_what_is_left_exact_comes_back(tmp_path):
    model = model_of("llama")
    cache = QJLCache(model.config, "k2v2", skip_layers=[1])
    with enabled(model):
        model(prompt(1, 150), **{cache_argument(model): cache})
    path = tmp_path / "skipped.qjlkv.safetensors"
    cache.save(path)
    loaded = QJLCache.load(path, model.config)
    assert [type(layer).__name__ for layer in loaded.layers] == ["QJLLayer", "DynamicLayer"]
    assert torch.equal(loaded.layers[1].keys, cache.layers[1].keys)
    assert torch.equal(loaded.layers[0].dense(150)[0], cache.layers[0].dense(150)[0])


def test_other_models(tmp_path):
    _, cache, _ = filled("llama")
    path = tmp_path / "saved.qjlkv.safetensors"
    cache.save(path)
    for change in (
        {"num_key_value_heads": 4},
        {"head_dim": 128},
        {"num_hidden_layers": 3},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 77.0}},
    ):
        with pytest.raises(InvalidArgument):
            QJLCache.load(path, tf.LlamaConfig(**{**BASE, **change}))
    with pytest.raises(InvalidArgument, match=r"layers \['full_attention', 'full_attention'\]"):
        QJLCache.load(path, model_of("gemma3").config)


def test_the_magnitude_of_rope(tmp_path):
    """YaRN's 1 + log(factor) / 10: of the file as of the model. A file without the note was written with 1, as the program reads it."""
    yarn = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 1024}
    config = tf.LlamaConfig(**{**BASE, "rope_parameters": yarn})
    cache = QJLCache(config, "k3v2")
    for layer in range(2):
        cache.update(torch.ones(1, 2, 140, 64), torch.ones(1, 2, 140, 64), layer)
    path = tmp_path / "yarn.qjlkv.safetensors"
    cache.save(path)
    copy.deepcopy(cache).save(path)
    assert CacheFile(path).notes[MAGNITUDES] == "1.13862944 1.13862944"
    assert QJLCache.load(path, config).get_seq_length() == 140
    store, notes = cache.session.stores[0], CacheFile(path).notes
    for text, error, found in (
        (None, InvalidArgument, "magnitude 1 in layer 0, wanted 1.13862944"),
        ("1.13862944 1.1386", InvalidArgument, "magnitude 1.1386 in layer 1"),
        ("1.13862944 nan", InvalidArgument, "magnitude nan in layer 1"),
        ("1.13862944", BadFile, "has 1 numbers, wanted one for each of 2 layers"),
        ("1.13862944 x", BadFile, "damaged: could not convert"),
    ):
        store.kv.save(path, store.rows, notes={NOTE: notes[NOTE], **({} if text is None else {MAGNITUDES: text})})
        with pytest.raises(error, match=found):
            QJLCache.load(path, config)
    _, plain, _ = filled("llama")
    plain.save(path)
    assert MAGNITUDES not in CacheFile(path).notes


@pytest.mark.parametrize(
    "change",
    [
        {"columns": -1},
        {"columns": 1 << 40},
        {"columns": "many"},
        {"dtype": "int8"},
        {"runs": None},
        {"runs": [[[0, 300]]]},
        {"runs": [[[0, 300]], [[31, 400]]]},
        {"runs": [[[0, 300]], [[300, 31]]]},
        {"runs": [[[0, 300]], [[0, 269]], [[0, 1]]]},
        {"runs": 3},
        {"seen": []},
        {"compressed": 7},
    ],
)
def test_damaged_notes(change, tmp_path):
    model, cache, _ = filled("llama")
    path = tmp_path / "saved.qjlkv.safetensors"
    cache.save(path)
    note = {**json.loads(CacheFile(path).notes[NOTE]), **change}
    store = cache.session.stores[0]
    store.kv.save(path, store.rows, notes={NOTE: json.dumps(note)})
    with pytest.raises(BadFile):
        QJLCache.load(path, model.config)


def test_damaged_exact_layers(tmp_path):
    model, cache, _ = filled("gemma3")
    path = tmp_path / "saved.qjlkv.safetensors"
    cache.save(path)
    notes, store = CacheFile(path).notes, cache.session.stores[0]
    exact = {f"{i}.{name}": getattr(cache.layers[i], name).contiguous() for i in range(5) for name in ("keys", "values")}
    store.kv.save(path, store.rows, notes=notes, exact=exact)
    QJLCache.load(path, model.config)
    for broken, error in (
        ({**exact, "3.keys": exact["3.keys"][:1]}, BadFile),
        ({**exact, "3.values": exact["3.values"][0]}, BadFile),
        ({name: tensor for name, tensor in exact.items() if name != "2.keys"}, InvalidArgument),
    ):
        store.kv.save(path, store.rows, notes=notes, exact=broken)
        with pytest.raises(error):
            QJLCache.load(path, model.config)
    store.kv.save(path, store.rows)
    with pytest.raises(InvalidArgument, match="nothing of layers"):
        QJLCache.load(path, model.config)


def test_what_cannot_be_saved(tmp_path):
    path = tmp_path / "none.qjlkv.safetensors"
    model, cache, batch = filled("llama")
    with pytest.raises(InvalidArgument, match="the cache is empty"):
        QJLCache(model.config).save(path)
    for wrong in (batch["input_ids"][:1], batch["input_ids"][:, :299], [1, 2]):
        with pytest.raises(InvalidArgument, match="token_ids have shape"):
            cache.save(path, token_ids=wrong)
    assert not path.exists()
    cache.layers.append(tf.cache_utils.LinearAttentionLayer())
    with pytest.raises(Unsupported, match="layer 2 is a LinearAttentionLayer"):
        cache.save(path)

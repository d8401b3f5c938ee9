"""The compressed cache in Hugging Face Transformers.

    from qjl.hf import QJLCache, enable

    enable(model)                                   # attention implementation "qjl"
    cache = QJLCache(model.config, cache="k3v2")
    model.generate(**inputs, cache=cache)           # before transformers 5.24 the keyword is past_key_values
    print(cache.memory_report())

Importing this registers an attention function and a mask function under the name "qjl" and the operator torch.ops.qjl.step; no
model and no class of Transformers is changed.
"""

from qjl.hf.attention import enable, enabled
from qjl.hf.cache import QJLCache
from qjl.hf.layer import QJLLayer

__all__ = ["QJLCache", "QJLLayer", "enable", "enabled"]

"""The compressed cache in vLLM, as a plugin: `pip install qjl` beside vLLM, then

    vllm serve MODEL --additional-config '{"qjl": {"cache": "k3v2"}}'

vLLM finds `register` by its entry point and calls it in every process. Until a config asks for qjl nothing changes. docs/vllm.md.
"""

from qjl.vllm.register import register

__all__ = ["register"]

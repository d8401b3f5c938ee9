"""The compressed cache in vLLM, as a plugin: `pip install qjl` beside vLLM, then

    vllm serve MODEL --additional-config '{"qjl": {"cache": "k3v2"}}'

vLLM finds `register` by its entry point and calls it in every process, more than once. Until a config asks for qjl it must cost nothing
and change nothing, so that importing this imports neither vLLM nor torch. docs/vllm.md.
"""

from __future__ import annotations

__all__ = ["register"]


def register() -> None:
    """Lets vLLM's configs ask for qjl. Idempotent. An unknown version of vLLM is refused when a config asks, not here: other users of
    that environment need not care."""
    import vllm

    from qjl.vllm.dtypes import register_names
    from qjl.vllm.patches import watch_configs

    register_names(vllm.__version__)
    watch_configs()

"""The entry point of the plugin. vLLM calls it in every process, more than once; until a config asks for qjl it must cost nothing and
change nothing, so that importing it imports neither vLLM nor torch."""

from __future__ import annotations


def register() -> None:
    """Lets vLLM's configs ask for qjl. Idempotent. An unknown version of vLLM is refused when a config asks, not here: other users of
    that environment need not care."""
    from qjl.vllm.patches import watch_configs

    watch_configs()

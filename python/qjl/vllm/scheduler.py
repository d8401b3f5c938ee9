"""QJLScheduler: vLLM's scheduler, for which a step that failed in our layers ends its requests and those that stand on its blocks."""

from __future__ import annotations

from vllm.v1.core.sched.scheduler import Scheduler

from qjl.vllm.failures import spoiled


class QJLScheduler(Scheduler):
    """vLLM asks both of what a connector could not bring. There is no connector (check.py): the worker names here the requests of a step
    that failed and the blocks that it was writing, also those of requests that have ended or left their blocks meanwhile."""

    def _handle_failed_recving(self, failed_req_ids: set[str]) -> set[str]:
        self.recompute_kv_load_failures = False  # they end; a second try would fail alike
        return failed_req_ids & self.requests.keys()

    def _handle_invalid_blocks(self, invalid_block_ids: set[int], num_scheduled_tokens: dict[str, int]) -> set[str]:
        """A pipeline has begun the next step by now, and a request there may have found these blocks as its prefix."""
        held = {request.request_id: self.kv_cache_manager.get_block_ids(request.request_id) for request in self.running}
        requests, blocks = spoiled(invalid_block_ids, held)
        self.kv_cache_manager.evict_blocks(blocks)
        return requests

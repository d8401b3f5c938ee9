"""QJLScheduler: vLLM's scheduler, for which a step that failed in our layers ends the requests of that step and no others."""

from __future__ import annotations

from vllm.v1.core.sched.scheduler import Scheduler


class QJLScheduler(Scheduler):
    def _handle_failed_recving(self, failed_req_ids: set[str]) -> set[str]:
        """vLLM asks this of requests whose cache a connector could not bring. Without a connector the worker names here requests whose
        step failed; what they were writing is no prefix for others."""
        if self.connector is not None:
            return super()._handle_failed_recving(failed_req_ids)
        self.recompute_kv_load_failures = False  # they end; a second try would fail alike
        failed = {request for request in failed_req_ids if request in self.requests}
        for request in failed:
            blocks = self.kv_cache_manager.get_block_ids(request)
            self.kv_cache_manager.evict_blocks({block for group in blocks for block in group})
        return failed

"""lm-eval over the compressed cache: python -m qjl.lm_eval run --model qjl --model_args pretrained=DIR,cache=k3v2 --tasks TASKS

Model `qjl` takes the arguments of lm-eval's `hf`, and `cache` (a cache type of qjl), `plan`, `chunk` (tokens of a scoring step, 32).
lm-eval's own `hf` scores a log-likelihood in one forward pass, which reads no cache at all. This one puts each prompt into the cache
up to the longest continuation of its batch and scores the rest in chunks, each of which reads what the pages stand for.

A page is 128 tokens: a task whose prompts are shorter reads no compressed token and gives the figures of the exact cache. A run
prints `compressed tokens read: N` and fails when N is 0, unless --allow-uncompressed is among the arguments.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from lm_eval.api.registry import register_model
from lm_eval.models.huggingface import HFLM
from tqdm import tqdm

from qjl import InvalidArgument
from qjl.hf import QJLCache, enable
from qjl.hf.forward import cache_argument

Request: TypeAlias = "tuple[Any, list[int], list[int]]"  # what it is kept under, context tokens, continuation tokens

ALLOW = "--allow-uncompressed"
AUTO_BATCH = 4

_models: list[QJLLM] = []


@register_model("qjl")
class QJLLM(HFLM):
    """lm-eval's `hf` on the CPU, with a QJLCache behind log-likelihoods and generation."""

    def __init__(self, pretrained: Any, cache: str = "k3v2", plan: str | None = None, chunk: int = 32, **arguments: Any) -> None:
        self.chunk = int(chunk)
        if self.chunk < 1:
            raise InvalidArgument(f"[lm_eval] chunk is {chunk}, wanted 1 or more")
        super().__init__(pretrained, **{**arguments, "device": arguments.get("device") or "cpu"})
        self.cache_type, self.plan = cache, plan
        self.compressed_tokens_read = 0
        enable(self.model)
        self.new_cache()  # a wrong cache type is told now
        _models.append(self)

    def new_cache(self) -> QJLCache:
        return QJLCache(self.model.config, self.cache_type, plan=self.plan)

    def _loglikelihood_tokens(
        self, requests: list[Request], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        """For each request log p(continuation | context), and whether the continuation is the greedy one."""
        size = override_bs or (self.batch_size if isinstance(self.batch_size, int) else AUTO_BATCH)
        order = sorted(range(len(requests)), key=lambda i: -len(requests[i][1]) - len(requests[i][2]))  # like lengths together
        found: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
        for begin in tqdm(range(0, len(order), size), disable=disable_tqdm, desc="Running loglikelihood requests"):
            batch = order[begin : begin + size]
            for i, answer in zip(batch, self._score([requests[i] for i in batch]), strict=True):
                found[i] = answer
                if requests[i][0] is not None:
                    self.cache_hook.add_partial("loglikelihood", requests[i][0], answer)
        return found

    @torch.no_grad()
    def _score(self, requests: list[Request]) -> Iterator[tuple[float, bool]]:
        rows = [(context + continuation)[-(self.max_length + 1) :] for _, context, continuation in requests]
        width = max(len(row) for row in rows) - 1
        tokens, mask = (torch.zeros(len(rows), width, dtype=torch.long) for _ in range(2))
        for i, row in enumerate(rows):
            tokens[i, width - len(row) + 1 :] = torch.tensor(row[:-1])
            mask[i, width - len(row) + 1 :] = 1
        longest = max(len(continuation) for *_, continuation in requests)
        logits = self._logits(tokens, mask, max(0, width - longest))
        for scores, (*_, continuation) in zip(F.log_softmax(logits.float(), -1), requests, strict=True):
            wanted = torch.tensor(continuation)
            own = scores[-len(continuation) :]
            total = own.gather(1, wanted[:, None]).sum()
            yield float(total), bool((own.argmax(-1) == wanted).all())

    def _logits(self, tokens: torch.Tensor, mask: torch.Tensor, prompt: int) -> torch.Tensor:
        """[batch, columns after the prompt, vocabulary]: the prompt goes into a cache, the rest through it in chunks."""
        cache = self.new_cache()
        named = {cache_argument(self.model): cache, "use_cache": True}
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        pieces = []
        cuts = [0, *range(prompt, tokens.shape[1], self.chunk), tokens.shape[1]]
        for begin, end in itertools.pairwise(cuts):
            if begin == end:
                continue
            of_piece = {"attention_mask": mask[:, :end], "position_ids": positions[:, begin:end]}
            keep = 1 if end <= prompt else 0  # 0: all
            out = self.model(tokens[:, begin:end], **of_piece, **named, logits_to_keep=keep)
            if end > prompt:
                pieces.append(out.logits)
        self.compressed_tokens_read += cache.compressed_tokens_read
        return torch.cat(pieces, 1)

    def _model_generate(self, context: torch.Tensor, max_length: int, stop: list[str], **arguments: Any) -> torch.Tensor:
        cache = self.new_cache()
        out = super()._model_generate(context, max_length, stop, **{cache_argument(self.model): cache}, **arguments)
        self.compressed_tokens_read += cache.compressed_tokens_read
        return out


def report() -> int:
    """Prints how many compressed tokens the models of this process have read; 0 when there is no such model."""
    read = sum(model.compressed_tokens_read for model in _models)
    if _models:
        print(f"compressed tokens read: {read}")
    return read


def main() -> int:
    """lm-eval's command line with model `qjl`. Exit code 1 when it was run and read nothing compressed."""
    from lm_eval.__main__ import cli_evaluate

    allowed = ALLOW in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != ALLOW]
    cli_evaluate()
    read = report()
    if _models and read == 0 and not allowed:
        print(
            f"no prompt filled a page of 128 tokens, so these figures are the exact cache's; {ALLOW} accepts that", file=sys.stderr
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""SmolLM2-135M behind `vllm serve`, asked by lm-eval: six questions in PIQA's form after six examples. In an evaluation also the scores
of a long text."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from asking import HERE, SMOLLM2
from scenarios_smollm2 import SCORED, south

SEQUENCES = 16
QUESTION, NEW_TOKENS = "The capital of France is", 8


def free_port() -> int:
    """One that this process has to itself: another server may run beside."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


PORT = free_port()


def serve(options: dict[str, Any], *more: str) -> dict[str, Any]:
    words = [
        str(Path(sys.executable).with_name("vllm")),
        "serve",
        str(SMOLLM2),
        "--served-model-name",
        "smollm2",
        "--port",
        str(PORT),
    ]
    words += ["--dtype", "float32", *more, "--max-model-len", "4096", "--max-num-seqs", str(SEQUENCES)]
    words += ["--kv-cache-memory-bytes", str(256 << 20)]
    words += ["--additional-config", json.dumps({"qjl": options})]
    server = subprocess.Popen(words)
    try:
        wait_until_it_answers(server)
        return {
            "text": completion(QUESTION, NEW_TOKENS)["text"],
            **lm_eval(),
            "south": south_scores() if "evaluate" in options else None,
        }
    finally:
        server.terminate()
        server.wait(60)


def wait_until_it_answers(server: subprocess.Popen[bytes], seconds: int = 600) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(1)
    raise RuntimeError(f"the server does not answer, it ended with {server.poll()}")


def completion(prompt: str | list[int], new_tokens: int, **more: Any) -> dict[str, Any]:
    body = {"model": "smollm2", "prompt": prompt, "max_tokens": new_tokens, "temperature": 0, **more}
    asked = urllib.request.Request(
        f"http://127.0.0.1:{PORT}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(asked, timeout=300) as answer:
        return json.load(answer)["choices"][0]


def south_scores() -> list[float]:
    """Of each token of the text after the first."""
    from transformers import AutoTokenizer

    ids = south(AutoTokenizer.from_pretrained(SMOLLM2))[:SCORED]
    found = completion(ids, 1, prompt_logprobs=0)["prompt_logprobs"]
    return [found[i][str(token)]["logprob"] for i, token in enumerate(ids) if i]


def lm_eval() -> dict[str, Any]:
    """Every answer to every question: asked [context, answer], scores its log-likelihood."""
    with tempfile.TemporaryDirectory() as folder:
        model = (
            f"model=smollm2,base_url=http://127.0.0.1:{PORT}/v1/completions,tokenizer={SMOLLM2},num_concurrent=2,max_length=2048"
        )
        words = [sys.executable, "-m", "lm_eval", "run", "--model", "local-completions", "--model_args", model]
        words += ["--tasks", "piqa_six", "--include_path", str(HERE / "piqa"), "--num_fewshot", "6", "--batch_size", "2"]
        words += ["--log_samples", "--output_path", folder]
        subprocess.run(words, check=True, cwd=HERE / "piqa", env={**os.environ, "HF_HOME": folder})
        [samples] = Path(folder).rglob("samples_*.jsonl")
        rows = sorted((json.loads(line) for line in samples.read_text().splitlines()), key=lambda row: row["doc_id"])
        return {
            "asked": [[each["arg_0"], each["arg_1"]] for row in rows for each in row["arguments"].values()],
            "scores": [float(answer[0]) for row in rows for answer in row["filtered_resps"]],
        }


def by_transformers(asked: list[list[str]]) -> dict[str, Any]:
    """The same by a model whose keys and values are rounded to half floats, as exact rows stand in a cache, and nothing else: tokens of
    an answer are those that its context does not have."""
    import torch
    from transformers import AttentionInterface, AttentionMaskInterface, AutoModelForCausalLM, AutoTokenizer
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import sdpa_mask

    def halves(module: Any, query: Any, key: Any, value: Any, mask: Any, **more: Any) -> Any:
        return sdpa_attention_forward(module, query, key.half().float(), value.half().float(), mask, **more)

    AttentionInterface.register("halves", halves)
    AttentionMaskInterface.register("halves", sdpa_mask)
    tokenizer = AutoTokenizer.from_pretrained(SMOLLM2)
    model = AutoModelForCausalLM.from_pretrained(SMOLLM2, dtype=torch.float32, attn_implementation="halves")
    scores = []
    with torch.no_grad():
        for context, answer in asked:
            known, ids = len(tokenizer(context).input_ids), tokenizer(context + answer, return_tensors="pt").input_ids
            logs = model(ids[:, :-1]).logits[0].log_softmax(-1).gather(1, ids[0, 1:, None])
            scores.append(logs[known - 1 :].sum().item())
        question = tokenizer(QUESTION, return_tensors="pt").input_ids
        out = model.generate(question, max_new_tokens=NEW_TOKENS, do_sample=False)[0, question.shape[1] :]
    return {"text": tokenizer.decode(out, skip_special_tokens=True), "scores": scores}


def plain() -> dict[str, Any]:
    """Compiled, as the documentation starts it; all other starts are eager."""
    found = serve({"cache": "k3v2"})
    return {**found, "exact": by_transformers(found["asked"])}


def evaluation() -> dict[str, Any]:
    return serve({"cache": "k3v2", "evaluate": True}, "--enforce-eager")

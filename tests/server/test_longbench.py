"""LongBench v2's pred.py, as far as a server sees it: one user message, temperature .1, 128 tokens for an answer or more for thoughts
(1024 there, 256 here) and then a second request that holds them, a key though none is set, and the text of the first choice. What the
answer says is chance; that it is a text is not."""

from __future__ import annotations

import openai
from conftest import ROOT, Server

KEY = "token-abc123"
CHOICES = "(A) of a cook\n(B) of a journey\n(C) of a machine\n(D) of a trial"


def query(client: openai.OpenAI, prompt: str, tokens: int) -> str:
    completion = client.chat.completions.create(
        model="smol", messages=[{"role": "user", "content": prompt}], temperature=0.1, max_tokens=tokens
    )
    return completion.choices[0].message.content


def test_answer_and_thoughts(server: Server) -> None:
    client = openai.OpenAI(base_url=server.url + "/v1", api_key=KEY, max_retries=0, timeout=120)
    text = (ROOT / "examples/texts/south.txt").read_text()[:4000]
    question = f"Read this text and answer the question.\n\n{text}\n\nWhat does the text tell of?\n{CHOICES}\n\n"
    answer = query(client, question + 'Format your response as follows: "The correct answer is (insert answer here)".', 128)
    assert isinstance(answer, str)
    thoughts = query(client, question + "Let's think step by step:", 256)
    assert isinstance(thoughts, str)
    final = query(client, f"{question}Let's think step by step: {thoughts}\n\nBased on the above, what is the single answer?", 128)
    assert isinstance(final, str)

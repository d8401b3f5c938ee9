"""Clients of a server's /v1/completions, in one thread that costs little: streams are searched for events, not parsed.

Many requests go out at once over connections of their own; of each the times at which its tokens came are kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

EVENT, TEXT, END = b"data: {", b'"text":', b"data: [DONE]"


@dataclass
class Answer:
    """Of one request. Times are seconds after it was sent."""

    sent: float = 0  # by the monotonic clock
    times: list[float] = field(default_factory=list)  # when each event with text came
    seconds: float = 0  # until the end
    usage: dict = field(default_factory=dict)
    error: str = ""

    @property
    def first(self) -> float:
        return self.times[0] if self.times else float("nan")

    @property
    def gaps(self) -> list[float]:
        return [b - a for a, b in pairwise(self.times)]

    @property
    def computed(self) -> int:
        """Tokens of the prompt that were not found in a cache."""
        details = self.usage.get("prompt_tokens_details") or {}
        return self.usage.get("prompt_tokens", 0) - (details.get("cached_tokens") or 0)


def request_bytes(body: dict) -> bytes:
    text = json.dumps(body).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + text


def completion(prompt: Sequence[int] | str, tokens: int, **more: object) -> dict:
    """A greedy stream of exactly so many tokens."""
    greedy = {"temperature": 0, "ignore_eos": True, "stream": True, "stream_options": {"include_usage": True}}
    return {"prompt": prompt, "max_tokens": tokens, **greedy, **more}


async def ask(port: int, body: dict, answer: Answer | None = None) -> Answer:
    """Cancelled, it hangs up; an `answer` that was given has what came till then."""
    answer = answer or Answer()
    request = request_bytes(body)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    try:
        answer.sent = time.monotonic()
        writer.write(request)
        await writer.drain()
        status = await reader.readline()
        if b" 200 " not in status:
            answer.error = status.decode().strip() + " " + (await reader.read(4000)).decode(errors="replace")[-300:]
            return answer
        rest = b""
        while chunk := await reader.read(1 << 18):
            rest = take_events(rest + chunk, answer, time.monotonic() - answer.sent)
            if END in rest:
                break
        answer.seconds = time.monotonic() - answer.sent
        del answer.times[answer.usage.get("completion_tokens", len(answer.times)) :]  # the event that ends a choice has no text
        if END not in rest:
            answer.error = "the stream ended early: " + rest[-200:].decode(errors="replace")
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return answer


def take_events(text: bytes, answer: Answer, now: float) -> bytes:
    """Counts whole events with text; returns what may still become one."""
    *events, rest = text.split(b"\n\n")
    for event in events:
        at = event.find(EVENT)
        if at < 0:
            rest = END if END in event else rest
            continue
        if b'"error":' in event:
            answer.error = event[at:].decode(errors="replace")[:300]
        if b'"choices":[]' in event or b'"usage":{' in event:
            answer.usage = json.loads(event[at + len(EVENT) - 1 : event.rfind(b"}") + 1])["usage"]
        if TEXT in event and b'"choices":[]' not in event:
            answer.times.append(now)
    return rest


async def ask_all(port: int, bodies: Sequence[dict]) -> list[Answer]:
    return list(await asyncio.gather(*(ask(port, body) for body in bodies)))


def ask_at_once(port: int, bodies: Sequence[dict]) -> list[Answer]:
    return asyncio.run(ask_all(port, bodies))


def ask_in_turn(port: int, bodies: Sequence[dict]) -> list[Answer]:
    return [answer for body in bodies for answer in ask_at_once(port, [body])]

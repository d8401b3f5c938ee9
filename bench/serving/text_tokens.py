"""Prompts: stretches of one text, each from a place of its own, so that no two begin alike."""

from __future__ import annotations

from itertools import count, cycle, islice

from servers import Server

STRIDE = 37  # tokens between the beginnings of two prompts


class TextTokens:
    def __init__(self, server: Server, text: str) -> None:
        self.tokens: list[int] = server.post("/tokenize", {"content": text, "add_special": False})["tokens"]
        self.places = count()

    def skip(self, prompts: int) -> None:
        """Goes on as if so many had been taken: a round that is repeated later has its own prompts."""
        self.places = count(prompts)

    def prompt(self, tokens: int) -> list[int]:
        """A text that begins where no other did; goes round at the end."""
        place = next(self.places)
        turn, at = divmod(place * STRIDE, len(self.tokens))
        start = (at + turn) % len(self.tokens)
        return list(islice(cycle(self.tokens), start, start + tokens))

    def prompts(self, number: int, tokens: int) -> list[list[int]]:
        return [self.prompt(tokens) for _ in range(number)]

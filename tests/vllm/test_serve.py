"""lm-eval against `vllm serve`: an evaluation changes log-likelihoods, a plain cache leaves them as they are, and says so."""

from __future__ import annotations

from asking import ask


def differences(scenario: str) -> list[float]:
    wanted, found = ask("serve:plain").found["exact"]["scores"], ask(scenario).found["scores"]
    assert len(wanted) == 12
    return [abs(a - b) for a, b in zip(wanted, found, strict=True)]


def test_an_evaluation_changes_figures() -> None:
    assert max(differences("serve:evaluation")) > 0.02
    assert "prompts attend through the compressed cache" in ask("serve:evaluation").log


def test_without_it_prompts_bypass_the_compression() -> None:
    assert max(differences("serve:plain")) < 0.005
    assert "log-likelihoods bypass the compression" in ask("serve:plain").log
    assert ask("serve:plain").found["text"] == ask("serve:plain").found["exact"]["text"]

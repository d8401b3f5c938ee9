"""lm-eval and LongBench through the cache: the same figures as the exact model at `f16`, and what their files must look like."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from qjl import BadFile, InvalidArgument
from qjl.longbench import Runner, Task, answered, arguments, read_lines, run, tasks
from tiny_models import model_of, prompt

lm_eval = pytest.importorskip("lm_eval", reason="needs lm-eval: pip install qjl[lm_eval]")


class Letters:
    """A tokenizer of one token a byte."""

    chat_template = None
    eos_token_id, pad_token_id, bos_token_id = 2, 0, 1

    class Ids:
        def __init__(self, ids):
            self.input_ids = ids

    def __call__(self, text, **_):
        return self.Ids(self.encode(text))

    def encode(self, text, **_):
        return [byte + 3 for byte in text.encode()]

    def decode(self, tokens, **_):
        return bytes(int(t) - 3 for t in tokens if 3 <= int(t) < 131).decode("ascii")

    def apply_chat_template(self, turns, **_):
        return "<" + turns[0]["content"] + ">"


class Scored:
    """What QJLLM needs of lm-eval's class, without its loader."""

    batch_size, max_length, chunk = 3, 500, 32
    cache_type, plan = "f16", None
    compressed_tokens_read = 0

    class Hook:
        def __init__(self):
            self.kept = []

        def add_partial(self, *found):
            self.kept.append(found)


@pytest.fixture
def scorer():
    from qjl.hf import enabled
    from qjl.lm_eval import QJLLM

    model = model_of("llama")

    class Small(QJLLM):
        def __init__(self):
            for name in ("batch_size", "max_length", "chunk", "cache_type", "plan", "compressed_tokens_read"):
                self.__dict__[f"_{name}" if name in ("batch_size", "max_length") else name] = getattr(Scored, name)
            self.__dict__["_model"] = model
            self.cache_hook = Scored.Hook()

        batch_size = property(lambda self: self._batch_size)
        max_length = property(lambda self: self._max_length)
        model = property(lambda self: self._model)

    with enabled(model):
        yield Small(), model


def requests():
    for i, (context, continuation) in enumerate([(200, 3), (40, 1), (310, 70), (1, 5), (480, 60)]):
        tokens = prompt(1, context + continuation, seed=i)[0].tolist()
        yield (None if i == 1 else f"request {i}"), tokens[:context], tokens[context:]


def test_log_likelihoods(scorer):
    ours, model = scorer
    asked = list(requests())
    found = ours._loglikelihood_tokens(asked, disable_tqdm=True)
    for (_, context, continuation), (score, greedy) in zip(asked, found, strict=True):
        row = (context + continuation)[-501:]
        logits = model(torch.tensor([row[:-1]]), use_cache=False).logits[0, -len(continuation) :]
        wanted = logits.log_softmax(-1).gather(1, torch.tensor(continuation)[:, None]).sum().item()
        assert score == pytest.approx(wanted, abs=2e-3 * len(continuation))  # keys of 11 bits, logits of order 1
        assert greedy == bool((logits.argmax(-1) == torch.tensor(continuation)).all())
    assert [name for _, name, _ in ours.cache_hook.kept] == ["request 4", "request 2", "request 0", "request 3"]
    assert ours.compressed_tokens_read > 0


def test_greedy_continuations_are_seen(scorer):
    ours, model = scorer
    context = prompt(1, 150)
    said = model.generate(context, attention_mask=torch.ones_like(context), max_new_tokens=40, do_sample=False)[0, 150:].tolist()
    asked = [("a", context[0].tolist(), said), ("b", context[0].tolist(), [*said[:-1], (said[-1] + 1) % 300])]
    assert [greedy for _, greedy in ours._loglikelihood_tokens(asked, disable_tqdm=True)] == [True, False]


def test_a_run_that_reads_nothing_compressed_fails(scorer, monkeypatch, capsys):
    from qjl import lm_eval as ours

    instance, _ = scorer
    monkeypatch.setattr(ours, "_models", [instance])
    monkeypatch.setattr("lm_eval.__main__.cli_evaluate", lambda: None)
    for argv, read, code in ((["lm_eval"], 0, 1), (["lm_eval", ours.ALLOW], 0, 0), (["lm_eval"], 384, 0)):
        instance.compressed_tokens_read = read
        monkeypatch.setattr(sys, "argv", argv)
        assert ours.main() == code
        assert ours.ALLOW not in sys.argv
        assert capsys.readouterr().out == f"compressed tokens read: {read}\n"


# -- LongBench


@pytest.fixture
def runner():
    from qjl.hf import enabled

    model = model_of("llama")
    with enabled(model):
        yield Runner(model, Letters(), "f16", 60)


LINES = [
    {"input": "x" * n, "context": "c" * (2 * n), "answers": ["yes", "ja"], "all_classes": None, "length": n} for n in (5, 40, 90)
]
TASK = Task("qasper", "Read {context} and say {input}.", 4)


def test_prompts_lose_their_middle(runner):
    task = Task("trec", "{context}{input}", 4)
    line = {"context": "a" * 100, "input": "b" * 100}
    assert Letters().decode(runner.prompt_tokens(task, line)) == "a" * 30 + "b" * 30


def test_chat_templates(runner):
    runner.tokenizer.chat_template = "any"
    asked = {name: Letters().decode(runner.prompt_tokens(Task(name, "{input}", 4), {"input": "q"})) for name in ("qasper", "lcc")}
    assert asked == {"qasper": "<q>", "lcc": "q"}


def test_answers_and_going_on(runner, tmp_path):
    path = tmp_path / "pred" / "tiny" / "qasper.jsonl"
    assert run(runner, TASK, LINES, path) == 3
    whole = path.read_text()
    found = [json.loads(line) for line in whole.splitlines()]
    assert [list(line) for line in found] == [["pred", "answers", "all_classes", "length"]] * 3
    assert [line["length"] for line in found] == [5, 40, 90]
    assert run(runner, TASK, LINES, path) == 0 and path.read_text() == whole
    path.write_text(whole[: whole.index("\n") + 9])  # stopped within the second line
    assert run(runner, TASK, LINES, path) == 2 and path.read_text() == whole
    with pytest.raises(InvalidArgument, match="answers another question"):
        answered(path, LINES[1:])
    assert [each.name for each in tmp_path.rglob("*.jsonl")] == ["qasper.jsonl"]


def test_samsum_stops_at_a_newline(runner, monkeypatch):
    stops = []
    monkeypatch.setattr(runner.model, "generate", lambda prompt, **options: stops.append(options.get("eos_token_id")) or prompt)
    for name in ("samsum", "qasper"):
        runner.answer(Task(name, "{input}", 4), {"input": "q"})
    assert stops == [[2, ord("\n") + 3], None]


def test_files_of_a_dataset(tmp_path):
    data = tmp_path / "data"
    (tmp_path / "config").mkdir()
    data.mkdir()
    with pytest.raises(InvalidArgument, match=r"no dataset2prompt\.json"):
        list(tasks(data, ["a"], 3))
    (tmp_path / "config" / "dataset2prompt.json").write_text('{"a": "{input}"}')
    assert list(tasks(data, ["a"], 3)) == [Task("a", "{input}", 3)]
    with pytest.raises(InvalidArgument, match="'b' has no prompt"):
        list(tasks(data, ["b"], 3))
    (data / "dataset2maxlen.json").write_text('{"a": 7}')
    assert list(tasks(data, ["a"], None)) == [Task("a", "{input}", 7)]
    with pytest.raises(InvalidArgument, match="found no file"):
        read_lines(data / "a.jsonl")
    (data / "a.jsonl").write_text('{"input": "\u2028"}\n[]\n')
    with pytest.raises(BadFile, match=r"a\.jsonl:2 holds a list"):
        read_lines(data / "a.jsonl")


def test_arguments():
    given = ["--model", "m", "--name", "n", "--data", "d", "--datasets", "a,b", "--max-length", "10", "--out", "o"]
    chosen = arguments(given)
    assert (chosen.cache, chosen.e, chosen.limit, chosen.max_new_tokens) == ("k3v2", False, None, None)
    with pytest.raises(SystemExit):
        arguments([*given, "--limit", "0"])

"""``CausalLM``: the loss is on the target only, and loss and perplexity equal the model's own."""

import math
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import DataError
from orchestrator.objective.language_modelling import CausalLM
from tests.fakes.tiny_models import tiny_gpt2, tiny_llama


class Headline(CausalLM):
    name = "headline"
    default_source = Source(origin=Origin.LOCAL, name="none.csv")
    target = "headline"
    prompt = "the article: {text} headline:"


ROWS = datasets.Dataset.from_dict(
    {"text": ["the film was good", "the plot " * 40], "headline": ["good film", "a very very very very bad plot"]}
)


@pytest.fixture(params=[tiny_llama, tiny_gpt2])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    build: Callable[[Path], Path] = request.param
    return build(tmp_path / "model")


def test_truncation_keeps_prompt_and_target(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    short, long = Headline().encode(ROWS, tokenizer, max_length=20)
    assert tokenizer.decode(short["input_ids"]) == "the article : the film was good headline : good film </s>"
    learnt = [[token for token in example["labels"] if token != -100] for example in (short, long)]
    assert [tokenizer.decode(tokens) for tokens in learnt] == ["good film </s>", "a very very very very bad plot </s>"]
    assert len(long["input_ids"]) == len(long["labels"]) == 20
    assert str(tokenizer.decode(long["input_ids"])).startswith("the article : the plot the plot")
    assert "headline : a very" in tokenizer.decode(long["input_ids"])


def test_long_target_is_truncated_long_prompt_refused(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    _, long = Headline().encode(ROWS, tokenizer, max_length=8)
    assert tokenizer.decode(long["input_ids"]) == "the article : headline : a very very"
    with pytest.raises(DataError, match=r"max_length: the prompt of headline takes 5 tokens .* got 6"):
        Headline().encode(ROWS, tokenizer, max_length=6)
    assert Headline().encode(ROWS.select([]), tokenizer, max_length=8) == []


def test_loss_equals_transformers_and_is_additive(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    task = Headline()
    examples = task.encode(ROWS, tokenizer, max_length=30)
    batch = task.collate(examples, tokenizer)
    assert batch["labels"].shape == batch["input_ids"].shape == (2, 30)
    out = model(**batch)
    sums_B, units_B = task.losses(out.logits, batch)
    assert units_B.tolist() == [3, 8]
    torch.testing.assert_close(sums_B.sum() / units_B.sum(), out.loss)
    parts = [task.collate([example], tokenizer) for example in examples]
    alone = torch.cat([task.losses(model(**part).logits, part)[0] for part in parts])
    torch.testing.assert_close(alone, sums_B, atol=1e-4, rtol=1e-4)
    measured = task.measure(task.predictions(out.logits, batch))
    assert measured == {"perplexity": pytest.approx(math.exp(float(out.loss.detach())), rel=1e-4)}


def test_perplexity_of_bad_model_is_infinite() -> None:
    assert Headline().measure([(1e6, 1.0)]) == {"perplexity": math.inf}
    assert Headline().measure([(0.0, 2.0), (0.0, 1.0)]) == {"perplexity": 1.0}


def test_end_token_is_a_label_despite_padding(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.eos_token
    batch = Headline().collate(Headline().encode(ROWS, tokenizer, max_length=30), tokenizer)
    last = int(batch["attention_mask"][0].sum()) - 1
    assert batch["labels"][0, last] == tokenizer.eos_token_id
    assert set(batch["labels"][0, last + 1 :].tolist()) == {-100}


def test_rows_without_target_are_excluded(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("body,headline\n" + "".join(f"text {i},{'' if i % 4 == 0 else f'head {i}'}\n" for i in range(20)))
    plan = DataPlan(source=Source(origin=Origin.LOCAL, name=str(path)), columns={"text": "body"}, validation=3, test=3)
    splits = Headline().splits(plan)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (9, 3, 3)
    assert all(splits.train["headline"])
    assert Headline().baseline(splits) is None

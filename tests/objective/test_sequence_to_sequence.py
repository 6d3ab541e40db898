"""``Seq2SeqLM``: truncation of prompts and targets; the loss equals the model's own."""

import math
from pathlib import Path

import datasets
import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import DataError
from orchestrator.evaluation.measure import forward
from orchestrator.objective.sequence_to_sequence import Seq2SeqLM
from tests.fakes.odd_models import save_tokenizer
from tests.fakes.tiny_models import tiny_bert, tiny_t5


class Headline(Seq2SeqLM):
    name = "headline"
    default_source = Source(origin=Origin.LOCAL, name="none.csv")
    target = "headline"
    prompt = "the article: {text} headline:"


ROWS = datasets.Dataset.from_dict(
    {"text": ["the film was good", "the plot " * 40], "headline": ["good film", "a very very very very bad plot"]}
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_t5(tmp_path / "model")


def test_truncation_keeps_the_prompt(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    short, long = Headline().encode(ROWS, tokenizer, max_length=20)
    assert tokenizer.decode(short["input_ids"]) == "the article : the film was good headline : </s>"
    assert tokenizer.decode(short["labels"]) == "good film </s>"
    assert len(long["input_ids"]) == 20
    assert str(tokenizer.decode(long["input_ids"])).endswith("plot headline : </s>")
    _, cut = Headline().encode(ROWS, tokenizer, max_length=7)
    assert tokenizer.decode(cut["input_ids"]) == "the article : the headline : </s>"
    assert tokenizer.decode(cut["labels"]) == "a very very very very bad </s>"
    with pytest.raises(DataError, match=r"max_length: the prompt of headline takes 6 tokens .* least 1 more, got 6"):
        Headline().encode(ROWS, tokenizer, max_length=6)
    assert Headline().encode(ROWS.select([]), tokenizer, max_length=8) == []


def test_special_tokens_surround_the_prompt(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert(tmp_path))
    short, _ = Headline().encode(ROWS, tokenizer, max_length=20)
    assert tokenizer.decode(short["input_ids"]) == "[CLS] the article : the film was good headline : [SEP]"


def test_target_ends_with_end_token(tmp_path: Path) -> None:
    save_tokenizer(tmp_path, {"eos_token": "<end>", "pad_token": "[PAD]"})
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    short, long = Headline().encode(ROWS, tokenizer, max_length=7)
    assert tokenizer.decode(short["labels"]) == "good film <end>"
    assert tokenizer.decode(long["labels"]) == "a very very very very bad <end>"


def test_loss_equals_transformers_and_is_additive(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    task = Headline()
    examples = task.encode(ROWS, tokenizer, max_length=30)
    batch = task.collate(examples, tokenizer)
    assert batch["input_ids"].shape == (2, 30)
    assert batch["labels"].shape == (2, 8)
    assert batch["decoder_attention_mask"].sum(1).tolist() == [3, 8]
    logits = forward(model, batch)
    sums_B, units_B = task.losses(logits, batch)
    assert units_B.tolist() == [3, 8]
    own = model(**{name: batch[name] for name in ("input_ids", "attention_mask", "labels")}).loss
    torch.testing.assert_close(sums_B.sum() / units_B.sum(), own)
    parts = [task.collate([example], tokenizer) for example in examples]
    alone = torch.cat([task.losses(forward(model, part), part)[0] for part in parts])
    torch.testing.assert_close(alone, sums_B, atol=1e-4, rtol=1e-4)
    measured = task.measure(task.predictions(logits, batch))
    assert measured == {"perplexity": pytest.approx(math.exp(float(own.detach())), rel=1e-4)}

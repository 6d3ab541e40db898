"""Tiny models beyond those in ``tests.fakes.tiny_models``: other heads, and files that lack some weights."""

import json
from pathlib import Path

import torch
from transformers import AutoConfig, BertForMaskedLM, RobertaConfig, RobertaForSequenceClassification

from tests.fakes.tiny_models import tiny_bert


def tiny_roberta(folder: Path) -> Path:
    """A RoBERTa classifier: its head has two layers."""
    vocab = AutoConfig.from_pretrained(tiny_bert(folder)).vocab_size
    config = RobertaConfig(
        vocab_size=vocab,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=130,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        RobertaForSequenceClassification(config).save_pretrained(folder)
    return folder


def bert_without_pooler(folder: Path) -> Path:
    """A BERT whose files hold neither a pooler nor a classifier, as those of many encoders."""
    config = AutoConfig.from_pretrained(tiny_bert(folder))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertForMaskedLM(config).save_pretrained(folder)
    return folder


def without_dropout(folder: Path) -> Path:
    """Switch a saved model's own dropout off."""
    file = folder / "config.json"
    config = json.loads(file.read_text())
    off = {name: 0.0 for name, value in config.items() if value and ("dropout" in name or name.endswith("_pdrop"))}
    file.write_text(json.dumps(config | off))
    return folder

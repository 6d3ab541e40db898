"""Tiny models with disagreeing tokenizer, configuration and generation configuration."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.fakes.tiny_models import SPECIAL, VOCAB

END = "<end>"
PIECES = tuple(dict.fromkeys((*SPECIAL, *VOCAB, END)))
"""The vocabulary; ``<end>`` has the last id."""
END_ID = PIECES.index(END)
EOS_ID = PIECES.index("</s>")


def save_tokenizer(folder: Path, special: Mapping[str, str], template: str | None = None, **settings: Any) -> None:
    """Save a word-piece tokenizer over ``PIECES`` with these special tokens and class settings."""
    from tokenizers import Tokenizer
    from tokenizers.decoders import WordPiece as Decoder
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import Lowercase
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    ids = {piece: index for index, piece in enumerate(PIECES)}
    tokenizer = Tokenizer(WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=40))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.decoder = Decoder()
    if template is not None:
        used = [
            (token, ids[token]) for token in PIECES if token in {word.partition(":")[0] for word in template.split()}
        ]
        tokenizer.post_processor = TemplateProcessing(single=template, special_tokens=used)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", **special, **settings).save_pretrained(
        folder
    )


def odd_llama(folder: Path, special: Mapping[str, str], template: str | None = None, **config: Any) -> Path:
    """Save a Llama language model (2 layers of 16 units), its configuration changed by ``config``."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    save_tokenizer(folder, special, template)
    settings = {
        "vocab_size": len(PIECES),
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 32,
        "max_position_embeddings": 128,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": EOS_ID,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForCausalLM(LlamaConfig(**(settings | config))).save_pretrained(folder)
    return folder


def tiny_xlnet(folder: Path) -> Path:
    """Save an XLNet: its classifier reads the last position; its tokenizer pads on the left and returns token types."""
    import torch
    from transformers import XLNetConfig, XLNetModel

    special = {"pad_token": "[PAD]", "sep_token": "[SEP]", "cls_token": "[CLS]"}
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    save_tokenizer(folder, special, "$A:0 [SEP]:0 [CLS]:2", padding_side="left", model_input_names=inputs)
    config = XLNetConfig(
        vocab_size=len(PIECES), d_model=16, n_layer=2, n_head=2, d_inner=32, pad_token_id=0, dropout=0.0
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = XLNetModel(config)
        for weight in model.parameters():
            torch.nn.init.normal_(weight, 0, 0.3)
        model.save_pretrained(folder)
    return folder


def tiny_bertweet(folder: Path) -> Path:
    """Save a RoBERTa with BERTweet's tokenizer: two files and the name of its class."""
    import torch
    from transformers import RobertaConfig, RobertaModel

    folder.mkdir(parents=True, exist_ok=True)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-:"
    words = [*letters, *(f"{letter}@@" for letter in letters), "good", "bad", "the", "film"]
    (folder / "vocab.txt").write_text("".join(f"{word} 1\n" for word in words))
    pairs = ["t h 9", "th e</w> 8", "g o 7", "go o 6", "goo d</w> 5", "b a 4", "ba d</w> 3"]
    (folder / "bpe.codes").write_text("".join(f"{pair}\n" for pair in pairs))
    kind: dict[str, Any] = {"tokenizer_class": "BertweetTokenizer"}
    config = RobertaConfig(
        vocab_size=len(words) + 5,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=130,
        **kind,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        RobertaModel(config).save_pretrained(folder)
    return folder

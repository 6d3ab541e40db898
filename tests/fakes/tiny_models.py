"""Tiny randomly initialised models with a tokenizer of their own, written to a folder in well under a second.

They load with ``AutoModel…from_pretrained`` and ``AutoTokenizer.from_pretrained`` as any downloaded model does.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<s>", "</s>")
ENCODER = "[CLS] $A [SEP]"
VOCAB = (
    *"abcdefghijklmnopqrstuvwxyz0123456789.,!?'-:",
    *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz0123456789"),
    *("good", "bad", "great", "awful", "fine", "poor", "nice", "terrible", "happy", "sad", "film", "plot", "acting"),
    *("music", "the", "a", "is", "was", "and", "very", "business", "sport", "tech", "politics", "match", "market"),
    *("game", "party", "minister", "headline", "article", "summarise", "topic"),
)
"""Word pieces for all lower-case words: no training text has only unknown tokens."""
_T5: dict[str, Any] = {
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 32,
    "num_heads": 2,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 16,
    "pad_token_id": 0,
    "decoder_start_token_id": 0,
    "eos_token_id": SPECIAL.index("</s>"),
}
"""Shared settings of T5 models."""


def tiny_bert(folder: Path, num_labels: int = 2, vocab: Sequence[str] = VOCAB, width: int = 16) -> Path:
    """Save a BERT classifier (2 layers of ``width`` hidden units, 2 heads, dropout 0.1) and return its folder."""
    from transformers import BertConfig, BertForSequenceClassification

    size = save_tokenizer(folder, vocab, template=ENCODER)
    config = BertConfig(
        vocab_size=size,
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=128,
        pad_token_id=0,
    )
    return _save_model(folder, BertForSequenceClassification, config, num_labels=num_labels)


def tiny_llama(folder: Path, vocab: Sequence[str] = VOCAB, width: int = 16) -> Path:
    """Save a Llama language model (2 layers of ``width`` units, 2 heads with shared keys) and return its folder."""
    from transformers import LlamaConfig, LlamaForCausalLM

    size = save_tokenizer(folder, vocab, template=None)
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=2 * width,
        max_position_embeddings=256,
        pad_token_id=0,
        bos_token_id=SPECIAL.index("<s>"),
        eos_token_id=SPECIAL.index("</s>"),
    )
    return _save_model(folder, LlamaForCausalLM, config)


def tiny_gpt2(folder: Path, vocab: Sequence[str] = VOCAB, width: int = 16) -> Path:
    """Save a GPT-2 language model (2 layers of ``width`` units, 2 heads, dropout 0.1) and return its folder."""
    from transformers import GPT2Config, GPT2LMHeadModel

    size = save_tokenizer(folder, vocab, template=None)
    config = GPT2Config(
        vocab_size=size,
        n_embd=width,
        n_layer=2,
        n_head=2,
        n_positions=256,
        pad_token_id=0,
        bos_token_id=SPECIAL.index("<s>"),
        eos_token_id=SPECIAL.index("</s>"),
    )
    return _save_model(folder, GPT2LMHeadModel, config)


def tiny_qwen2(folder: Path) -> Path:
    """Save a Qwen2 language model (2 layers, 2 heads with shared keys) and return its folder."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    size = save_tokenizer(folder, VOCAB, template=None)
    config = Qwen2Config(
        vocab_size=size,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=32,
    )
    return _save_model(folder, Qwen2ForCausalLM, config)


def tiny_starcoder2(folder: Path) -> Path:
    """Save a StarCoder2 language model and return its folder. Its dropout (0.1) is a function, not a layer."""
    from transformers import Starcoder2Config, Starcoder2ForCausalLM

    size = save_tokenizer(folder, VOCAB, template=None)
    config = Starcoder2Config(
        vocab_size=size,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=32,
        max_position_embeddings=256,
        residual_dropout=0.1,
        embedding_dropout=0.1,
        pad_token_id=0,
        bos_token_id=SPECIAL.index("<s>"),
        eos_token_id=SPECIAL.index("</s>"),
    )
    return _save_model(folder, Starcoder2ForCausalLM, config)


def tiny_roberta(folder: Path, width: int = 16) -> Path:
    """Save a RoBERTa classifier (2 layers of ``width`` units, a head of two layers) and return its folder."""
    from transformers import RobertaConfig, RobertaForSequenceClassification

    size = save_tokenizer(folder, VOCAB, template=ENCODER)
    config = RobertaConfig(
        vocab_size=size,
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=130,
        pad_token_id=0,
    )
    return _save_model(folder, RobertaForSequenceClassification, config, num_labels=2)


def tiny_t5(folder: Path, vocab: Sequence[str] = VOCAB) -> Path:
    """Save a T5 (2 + 2 layers of 16 hidden units, 2 heads, dropout 0.1) and return its folder."""
    from transformers import T5Config, T5ForConditionalGeneration

    size = save_tokenizer(folder, vocab, template="$A </s>")
    config = T5Config(vocab_size=size, num_layers=2, **_T5)
    return _save_model(folder, T5ForConditionalGeneration, config)


def tiny_bart_classifier(folder: Path) -> Path:
    """Save a BART classifier with its head in the files, like bart-large-mnli, and return its folder."""
    from transformers import BartConfig, BartForSequenceClassification

    size = save_tokenizer(folder, VOCAB, template="$A </s>")
    end = SPECIAL.index("</s>")
    config = BartConfig(
        vocab_size=size,
        d_model=16,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=128,
        id2label={0: "class 0", 1: "class 1"},  # it stores no default names, and has 3
        pad_token_id=0,
        bos_token_id=SPECIAL.index("<s>"),
        eos_token_id=end,
        decoder_start_token_id=end,
        forced_eos_token_id=end,
    )
    return _save_model(folder, BartForSequenceClassification, config)


def tiny_t5_classifier(folder: Path) -> Path:
    """Save a T5 classifier with its head in the files and return its folder."""
    from transformers import T5Config, T5ForSequenceClassification

    size = save_tokenizer(folder, VOCAB, template="$A </s>")
    config = T5Config(vocab_size=size, num_layers=2, **_T5)
    return _save_model(folder, T5ForSequenceClassification, config, num_labels=2)


def tiny_distilbert(folder: Path) -> Path:
    """Save a DistilBERT classifier (head: ``pre_classifier``, ``classifier``) and return its folder."""
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    size = save_tokenizer(folder, VOCAB, template=ENCODER)
    config = DistilBertConfig(
        vocab_size=size,
        dim=16,
        n_layers=2,
        n_heads=2,
        hidden_dim=32,
        max_position_embeddings=128,
        pad_token_id=0,
    )
    return _save_model(folder, DistilBertForSequenceClassification, config, num_labels=2)


def tiny_modernbert(folder: Path) -> Path:
    """Save a ModernBERT classifier (its head has a normalisation) and return its folder."""
    from transformers import ModernBertConfig, ModernBertForSequenceClassification

    size = save_tokenizer(folder, VOCAB, template=ENCODER)
    config = ModernBertConfig(
        vocab_size=size,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=128,
        pad_token_id=0,
        bos_token_id=SPECIAL.index("<s>"),
        eos_token_id=SPECIAL.index("</s>"),
        cls_token_id=SPECIAL.index("[CLS]"),
        sep_token_id=SPECIAL.index("[SEP]"),
    )
    return _save_model(folder, ModernBertForSequenceClassification, config, num_labels=2)


def tiny_mixtral(folder: Path) -> Path:
    """Save a Mixtral language model (peft adapts its experts by parameter) and return its folder."""
    from transformers import MixtralConfig, MixtralForCausalLM

    return _save_mixture(folder, MixtralConfig, MixtralForCausalLM, num_local_experts=4)


def tiny_qwen2_moe(folder: Path) -> Path:
    """Save a Qwen2-MoE language model (with shared experts) and return its folder."""
    from transformers import Qwen2MoeConfig, Qwen2MoeForCausalLM

    own = {"num_experts": 4, "moe_intermediate_size": 64, "shared_expert_intermediate_size": 32}
    return _save_mixture(folder, Qwen2MoeConfig, Qwen2MoeForCausalLM, **own)


def tiny_qwen3_moe(folder: Path) -> Path:
    """Save a Qwen3-MoE language model (peft does not adapt its experts) and return its folder."""
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    own = {"num_experts": 4, "moe_intermediate_size": 32, "head_dim": 8}
    return _save_mixture(folder, Qwen3MoeConfig, Qwen3MoeForCausalLM, **own)


def _save_mixture(
    folder: Path,
    config: "Callable[..., PreTrainedConfig]",
    kind: "type[PreTrainedModel]",
    **own: int,
) -> Path:
    size = save_tokenizer(folder, VOCAB, template=None)
    found = config(
        vocab_size=size,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=32,
        num_experts_per_tok=2,
        max_position_embeddings=256,
        pad_token_id=0,
        bos_token_id=SPECIAL.index("<s>"),
        eos_token_id=SPECIAL.index("</s>"),
        **own,
    )
    return _save_model(folder, kind, found)


def tiny_switch(folder: Path) -> Path:
    """Save a Switch Transformer (each expert receives some of the tokens) and return its folder."""
    from transformers import SwitchTransformersConfig, SwitchTransformersForConditionalGeneration

    size = save_tokenizer(folder, VOCAB, template="$A </s>")
    config = SwitchTransformersConfig(
        vocab_size=size,
        num_layers=2,
        num_decoder_layers=2,
        num_sparse_encoder_layers=1,
        num_sparse_decoder_layers=1,
        num_experts=2,
        expert_capacity=1000,
        router_jitter_noise=0.0,
        **{**_T5, "dropout_rate": 0.0},
    )
    return _save_model(folder, SwitchTransformersForConditionalGeneration, config)


def tiny_deberta(folder: Path) -> Path:
    """Save a DeBERTa classifier (with its own attention implementation) and return its folder."""
    from transformers import DebertaV2Config, DebertaV2ForSequenceClassification

    size = save_tokenizer(folder, VOCAB, template=ENCODER)
    config = DebertaV2Config(
        vocab_size=size,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=128,
        pad_token_id=0,
    )
    return _save_model(folder, DebertaV2ForSequenceClassification, config, num_labels=2)


def bert_without_pooler(folder: Path, width: int = 16) -> Path:
    """Save a BERT without pooler and classifier, like many encoders, and return its folder."""
    from transformers import AutoConfig, BertForMaskedLM

    return _save_model(folder, BertForMaskedLM, AutoConfig.from_pretrained(tiny_bert(folder, width=width)))


def without_dropout(folder: Path) -> Path:
    """Switch off a saved model's own dropout."""
    file = folder / "config.json"
    config = json.loads(file.read_text())
    off = {name: 0.0 for name, value in config.items() if value and ("dropout" in name or name.endswith("_pdrop"))}
    file.write_text(json.dumps(config | off))
    return folder


def _save_model(
    folder: Path, kind: "type[PreTrainedModel]", config: "PreTrainedConfig", *, num_labels: int | None = None
) -> Path:
    import torch

    if num_labels is not None:
        config.num_labels = num_labels
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kind(config).save_pretrained(folder)
    return folder


def save_tokenizer(folder: Path, vocab: Sequence[str], *, template: str | None) -> int:
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import Lowercase
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    pieces = list(dict.fromkeys((*SPECIAL, *vocab)))
    ids = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=40))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    if template is not None:
        tokenizer.post_processor = TemplateProcessing(
            single=template, special_tokens=[(token, ids[token]) for token in SPECIAL if token in template]
        )
    special = (
        {"cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
        if template == ENCODER
        else {"bos_token": "<s>", "eos_token": "</s>"}
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=128, **special
    ).save_pretrained(folder)
    return len(pieces)

"""A sweep folder after training: tiny models, and adapters with non-zero weights."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from orchestrator.core.data import Origin, Source
from orchestrator.core.sweeps.sweep import SweepStatus
from orchestrator.core.trials.trial import TrialState
from orchestrator.tracking.logged_models.adapters import SweepAdapters
from tests.fakes.tiny_models import tiny_bert, tiny_llama, tiny_t5
from tests.tracking.records import ACCURACY, StoredSweep, sweep, trial

LABELS = ("bad", "so-so", "good")
WRITERS: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "causal_lm": (tiny_llama, "AutoModelForCausalLM", "CAUSAL_LM"),
    "seq2seq_lm": (tiny_t5, "AutoModelForSeq2SeqLM", "SEQ_2_SEQ_LM"),
}
TEXTS = ("a great film", "the plot was awful and sad", "fine", "terrible acting, nice music")


def classifier_adapter(
    base: Path, folder: Path, seed: int, labels: Sequence[str] = LABELS, *, by_token: bool = False
) -> list[list[float]]:
    """Save a LoRA adapter with non-zero B and a head, and return its logits for ``TEXTS``, B×C, or B×T×C by token."""
    import peft
    import torch
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoTokenizer

    auto = AutoModelForTokenClassification if by_token else AutoModelForSequenceClassification
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = auto.from_pretrained(base, num_labels=len(labels), ignore_mismatched_sizes=True)
        config = peft.LoraConfig(
            task_type="TOKEN_CLS" if by_token else "SEQ_CLS",
            r=4,
            lora_alpha=8,
            target_modules="all-linear",
            modules_to_save=["classifier"] if by_token else None,
        )
        adapted = peft.get_peft_model(model, config)
        with torch.no_grad():
            for name, weight in adapted.named_parameters():
                if "lora_B" in name or "classifier" in name:
                    weight.normal_(0, 0.5)
    adapted.save_pretrained(str(folder))
    tokenizer = AutoTokenizer.from_pretrained(base)
    with torch.inference_mode():
        logits = adapted.eval()(**tokenizer(list(TEXTS), padding=True, return_tensors="pt")).logits
    found: list[list[float]] = logits.tolist()
    return found


def writer_adapter(base: Path, folder: Path, auto: str, task_type: str) -> None:
    """Save a LoRA adapter of a language model."""
    import peft
    import transformers

    model = getattr(transformers, auto).from_pretrained(base)
    config = peft.LoraConfig(task_type=task_type, r=4, target_modules="all-linear", init_lora_weights=False)
    peft.get_peft_model(model, config).save_pretrained(str(folder))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TrainedSweep:
    """A finished sweep of four trials. The adapters of 0 and 2 are kept; the one of 1, better than 0, is not."""

    store: StoredSweep
    adapters: SweepAdapters
    logits: dict[int, list[list[float]]]


def trained_sweep(folder: Path, name: str = "films") -> TrainedSweep:
    base = tiny_bert(folder / "base")
    records = (
        trial(0, (0.7, 0.8, 0.75), TrialState.COMPLETE),
        trial(1, (0.85,), TrialState.PRUNED),
        dataclasses.replace(trial(2, (0.8, 0.9), TrialState.COMPLETE), final={"shift/tweets/accuracy": 0.7}),
        trial(3, (), TrialState.FAIL),
    )
    adapters = SweepAdapters(
        sweep_dir=folder / "sweep",
        metric=ACCURACY,
        base=Source(origin=Origin.LOCAL, name=str(base)),
        base_path=str(base),
        head="sequence_classification",
        labels=LABELS,
        objective="sentiment",
    )
    logits = {}
    for number in (0, 2):
        best = records[number].best(ACCURACY)
        assert best is not None
        assert best.checkpoint is not None
        logits[number] = classifier_adapter(base, folder / "sweep" / best.checkpoint / "adapter", seed=number)
    return TrainedSweep(
        store=StoredSweep(sweep(name, status=SweepStatus.FINISHED), *records), adapters=adapters, logits=logits
    )


def writer_adapters(folder: Path, head: str) -> SweepAdapters:
    """Return the adapters of a language model objective, with the adapter of trial 0."""
    write, auto, task_type = WRITERS[head]
    base = write(folder / "base")
    writer_adapter(base, folder / "sweep" / "trials/0000/checkpoint-1000" / "adapter", auto, task_type)
    return SweepAdapters(
        sweep_dir=folder / "sweep",
        metric=ACCURACY,
        base=Source(origin=Origin.LOCAL, name=str(base)),
        base_path=str(base),
        head=head,
        labels=(),
        objective="headline",
        prompt="summarise {text} headline ",
    )

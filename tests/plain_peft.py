"""The oracle: plain peft and transformers, in a process that cannot import anything of ours.

``PlainPeft`` starts it and asks; run as a script, this file is that process: a line of JSON comes in, a line goes out.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MODELS = {
    "causal_lm": "AutoModelForCausalLM",
    "seq2seq_lm": "AutoModelForSeq2SeqLM",
    "sequence_classification": "AutoModelForSequenceClassification",
    "token_classification": "AutoModelForTokenClassification",
    "question_answering": "AutoModelForQuestionAnswering",
}


class PlainPeft:
    """The process of the oracle; it ends with the context."""

    def __init__(self) -> None:
        command = [sys.executable, "-I", __file__]  # -I: without this folder and the project on its path
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed on exit)
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )

    def __enter__(self) -> "PlainPeft":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=30)
        self._log.close()

    def measure(
        self,
        adapter: Path,
        base: "Path | str",
        rows: Sequence[Mapping[str, Any]],
        head: str,
        quantisation: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return ``loss`` and ``accuracy`` over encoded rows; ``quantisation``: arguments of ``BitsAndBytesConfig``."""
        return self._ask(adapter=str(adapter), base=str(base), rows=rows, head=head, quantisation=quantisation)

    def classify(
        self, adapter: Path, base: "Path | str", texts: Sequence[str], num_labels: int, max_length: int | None = None
    ) -> list[list[float]]:
        """Return a classifier's logits of texts, encoded by the adapter's tokenizer."""
        asked = {"adapter": str(adapter), "base": str(base), "texts": texts, "num_labels": num_labels}
        logits: list[list[float]] = self._ask(**asked, max_length=max_length)["logits"]
        return logits

    def _ask(self, **question: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            self._process.wait()
            self._log.seek(0)
            raise AssertionError(self._log.read())
        return json.loads(answer)


def _measured(
    *, adapter: str, base: str, rows: Sequence[Mapping[str, Any]], head: str, quantisation: Mapping[str, Any] | None
) -> dict[str, float]:
    import torch
    import transformers
    from peft import PeftModel

    options: dict[str, Any] = {"dtype": torch.float32}
    if quantisation is not None:
        options["quantization_config"] = transformers.BitsAndBytesConfig(**quantisation)
    model = getattr(transformers, MODELS[head]).from_pretrained(base, **options)
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # otherwise bitsandbytes rounds on CPUs with this instruction
    model = PeftModel.from_pretrained(model, adapter).eval()
    loss = units = right = 0.0
    for row in rows:
        labels = torch.tensor([row["labels"]])
        decoding = {"labels": labels} if head == "seq2seq_lm" else {}  # the model derives its decoder input from them
        with torch.inference_mode():
            ids = torch.tensor([row["input_ids"]], device=model.device)  # in 4 bits the GPU, if there is one
            logits = model(input_ids=ids, **decoding).logits.double().cpu()
        if head == "seq2seq_lm":
            labels, logits = labels[0], logits[0]
        if head == "causal_lm":
            labels, logits = labels[0, 1:], logits[0, :-1]
        loss += torch.nn.functional.cross_entropy(logits, labels, reduction="sum").item()
        units += (labels != -100).sum().item()
        right += (logits.argmax(-1) == labels).sum().item()
    return {"loss": loss / units, "accuracy": right / units}


def _classified(
    *, adapter: str, base: str, texts: list[str], num_labels: int, max_length: int | None
) -> dict[str, list[list[float]]]:
    import torch
    import transformers
    from peft import PeftModel

    # The base model's head may have other classes; the adapter has its own head.
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=num_labels, ignore_mismatched_sizes=True
    )
    model = PeftModel.from_pretrained(model, adapter).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(adapter)
    found = []
    for text in texts:
        encoded = tokenizer(text, truncation=max_length is not None, max_length=max_length, return_tensors="pt")
        with torch.inference_mode():
            found += model(**encoded).logits.tolist()
    return {"logits": found}


def _main() -> None:
    for line in sys.stdin:
        question = json.loads(line)
        answer = _classified(**question) if "texts" in question else _measured(**question)
        assert not any(name.split(".")[0] in {"orchestrator", "objectives", "tests", "mlflow"} for name in sys.modules)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main()

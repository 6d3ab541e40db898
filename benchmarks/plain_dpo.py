"""One training by TRL's ``DPOTrainer``, run by ``preference`` with TRL on the path.

The argument is a JSON file with the base model, the start adapter, the rows as token ids in the order of the training,
and the settings. The last line of the output is JSON: metrics of the held-out rows before and after.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import PeftModel
from torch.utils.data import SequentialSampler
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer


class TokenisedDPO(DPOTrainer):
    """DPOTrainer on rows that are token ids already, in their order."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        return dataset

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


def main(file: Path) -> None:
    """Train and print the metrics."""
    given = json.loads(file.read_text())
    settings = given["settings"]
    base = AutoModelForCausalLM.from_pretrained(given["base"], dtype="float32")
    trainer = TokenisedDPO(
        model=PeftModel.from_pretrained(base, given["start"], is_trainable=True),
        processing_class=AutoTokenizer.from_pretrained(given["base"]),
        train_dataset=Dataset.from_list(given["train"]),
        eval_dataset=Dataset.from_list(given["validation"]),
        args=DPOConfig(
            output_dir=tempfile.mkdtemp(prefix="plain-dpo-"),
            loss_type=[settings["loss_type"]],
            beta=settings["beta"],
            max_length=None,
            learning_rate=settings["learning_rate"],
            per_device_train_batch_size=settings["batch_size"],
            per_device_eval_batch_size=settings[
                "eval_size"
            ],  # batches of equal size: TRL takes the mean of their means
            num_train_epochs=1,
            warmup_steps=0,
            weight_decay=0.0,
            max_grad_norm=1.0,
            lr_scheduler_type="linear",
            bf16=False,
            use_cpu=True,
            gradient_checkpointing=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            logging_steps=1,
        ),
    )
    before = trainer.evaluate()
    trainer.train()
    after = trainer.evaluate()
    names = ("loss", "rewards/margins", "rewards/accuracies", "logps/chosen")
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    found = {name: [each[f"eval_{name}"] for each in (before, after)] for name in names}
    sys.stdout.write(json.dumps({**found, "updates": losses}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

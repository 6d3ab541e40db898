"""One training by TRL's ``SFTTrainer``, run by ``instruction_tuning`` with an interpreter that has TRL.

Arguments: the base model's folder, a folder with ``train.jsonl`` and ``validation.jsonl``, the seed, the settings as
JSON. The last line of the output is ``{"untuned": …, "loss": …}``: validation loss before and after.
"""

import json
import math
import sys
import tempfile
from pathlib import Path

import datasets
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

PLAIN = "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
MARKED = (
    "{{'<|im_start|>' + message['role'] + '\n'}}{% if message['role'] == 'assistant' %}{% generation %}"
    "{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}{% else %}"
    "{{ message['content'] + '<|im_end|>' + '\n' }}{% endif %}"
)


def main(base: str, folder: Path, seed: int, settings: dict[str, float]) -> None:
    """Train and print the losses."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    assert PLAIN in tokenizer.chat_template
    tokenizer.chat_template = tokenizer.chat_template.replace(PLAIN, MARKED)
    rows = datasets.load_dataset(
        "json", data_files={name: str(folder / f"{name}.jsonl") for name in ("train", "validation")}
    )
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(base, dtype="float32"),
        processing_class=tokenizer,
        train_dataset=rows["train"],
        eval_dataset=rows["validation"],
        peft_config=LoraConfig(
            task_type="CAUSAL_LM",
            r=int(settings["rank"]),
            lora_alpha=int(settings["alpha"]),
            lora_dropout=settings["dropout"],
            target_modules="all-linear",
        ),
        args=SFTConfig(
            output_dir=tempfile.mkdtemp(prefix="plain-sft-"),
            assistant_only_loss=True,
            max_length=None,
            learning_rate=settings["learning_rate"],
            per_device_train_batch_size=int(settings["batch_size"]),
            per_device_eval_batch_size=1000,  # one batch: the mean is over tokens, not over means of batches
            num_train_epochs=settings["epochs"],
            warmup_steps=0,
            weight_decay=0.0,
            max_grad_norm=1.0,
            lr_scheduler_type="linear",
            bf16=True,
            use_cpu=True,
            gradient_checkpointing=False,
            seed=seed,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
    )
    untuned = trainer.evaluate()["eval_loss"]
    trainer.train()
    loss = trainer.evaluate()["eval_loss"]
    assert math.isfinite(loss)
    print(json.dumps({"untuned": untuned, "loss": loss}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4]))

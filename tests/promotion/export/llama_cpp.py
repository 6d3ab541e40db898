"""Runs a GGUF model in llama.cpp, in a process of its own that reads and writes JSON."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def next_token_log_probabilities(
    model: Path, adapter: Path | None, tokens: Sequence[int] | str, size: int
) -> list[float]:
    """Return the log probability of every token of the vocabulary after some tokens.

    Args:
        model: GGUF file of the model.
        adapter: GGUF file of a LoRA adapter.
        tokens: ids of the tokens before, or a text, which llama.cpp divides into tokens.
        size: tokens of the vocabulary.
    """
    order = {
        "model": str(model),
        "adapter": adapter and str(adapter),
        "tokens": tokens if isinstance(tokens, str) else [*tokens],
        "size": size,
    }
    command = [sys.executable, "-m", __name__]
    child = subprocess.run(command, input=json.dumps(order), capture_output=True, text=True, timeout=120, check=False)
    assert child.returncode == 0, child.stderr[-2000:]
    found: dict[str, float] = json.loads(child.stdout.rpartition("ANSWER ")[2])
    return [found[str(token)] for token in range(size)]


def _main() -> None:
    import xllamacpp

    order = json.load(sys.stdin)
    params: Any = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_gpu_layers, params.warmup = order["model"], 256, 0, False
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    # The default attention computes with keys and values in float16: log probabilities differ by up to 0.01.
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.cpuparams.n_threads = 1
    if order["adapter"]:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(order["adapter"], 1.0)]
    server: Any = xllamacpp.Server(params)
    answer = server.handle_completions(
        {"prompt": order["tokens"], "n_predict": 1, "temperature": 0, "n_probs": order["size"]}
    )
    [first] = answer["choices"][0]["logprobs"]["content"]
    sys.stdout.write(f"ANSWER {json.dumps({each['id']: each['logprob'] for each in first['top_logprobs']})}\n")


if __name__ == "__main__":
    _main()

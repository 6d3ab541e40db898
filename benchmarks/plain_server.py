"""One adapter behind FastAPI, as transformers' and peft's pages show it: the rival of ``benchmarks.serving``.

    python -m benchmarks.plain_server FOLDER DESCRIPTOR

Listens on the inherited socket ``DESCRIPTOR``.
"""

import json
import socket
import sys
import threading
from pathlib import Path

import torch
import uvicorn
from fastapi import FastAPI
from peft import PeftModel
from pydantic import BaseModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer


class Texts(BaseModel):
    """The body of a request."""

    texts: list[str]


def make_app(folder: Path) -> FastAPI:
    card = json.loads((folder / "loratory.json").read_text())
    base = AutoModelForSequenceClassification.from_pretrained(card["base_path"], num_labels=len(card["labels"]))
    model = PeftModel.from_pretrained(base, folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    app, lock = FastAPI(), threading.Lock()  # a tokenizer serves one thread at a time

    @app.post("/predict")
    def predict(request: Texts) -> list[list[float]]:
        with lock, torch.inference_mode():
            rows = tokenizer(
                request.texts, truncation=True, max_length=card["max_length"], padding=True, return_tensors="pt"
            )
            found: list[list[float]] = model(**rows).logits.softmax(dim=-1).tolist()
        return found

    @app.get("/health")
    def health() -> str:
        return "ok"

    return app


if __name__ == "__main__":
    listener = socket.socket(fileno=int(sys.argv[2]))
    uvicorn.Server(uvicorn.Config(make_app(Path(sys.argv[1])), log_level="warning")).run(sockets=[listener])

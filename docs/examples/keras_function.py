"""A plain function that fine-tunes a text encoder with TensorFlow: Keras layers with LoRA, over MiniLM's own weights.

The packaged MiniLM is converted to Keras: its weights are frozen, and Keras adds LoRA to every dense layer of the
encoder. ``pip install -r requirements-tensorflow.lock`` installs TensorFlow.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from orchestrator.assets.data import read_table
from orchestrator.assets.fetch import fetch
from orchestrator.core.data import Origin, Source

if TYPE_CHECKING:
    import pandas as pd

    from orchestrator.training.function.child import Config, Report

LABELS = ("negative", "positive")
WIDTH, HEADS, LAYERS, TOKENS = 384, 12, 6, 40
ROWS = {"train": slice(0, 600), "validation": slice(600, 800), "test": slice(800, 1000)}


class Encoder(keras.Model):
    """MiniLM (BERT with six layers), the mean of its token vectors, and a new head. B: rows; T: tokens; D: width."""

    def __init__(self, folder: Path, rank: int) -> None:
        super().__init__()
        weights = load_file(folder / "model.safetensors")
        self.words = weights["embeddings.word_embeddings.weight"]
        self.places = weights["embeddings.position_embeddings.weight"][:TOKENS]
        self.places = self.places + weights["embeddings.token_type_embeddings.weight"][0]
        self.table = tf.constant(self.words)
        self.norm = _norm(weights, "embeddings.LayerNorm")
        self.blocks = [Block(weights, f"encoder.layer.{number}", rank) for number in range(LAYERS)]
        self.head = keras.layers.Dense(len(LABELS))
        self.head.build((None, WIDTH))

    def call(self, ids_BT: tf.Tensor) -> tf.Tensor:
        """Return the logits, B×2; token 0 is padding."""
        mask_BT = tf.cast(ids_BT != 0, tf.float32)
        hidden_BTD = self.norm(tf.gather(self.table, ids_BT) + self.places)
        for block in self.blocks:
            hidden_BTD = block(hidden_BTD, mask_BT)
        sums = ops.sum(hidden_BTD * mask_BT[..., None], axis=1)
        return self.head(sums / ops.sum(mask_BT, axis=1, keepdims=True))


class Block(keras.layers.Layer):
    """One layer of BERT: attention, then two dense layers, each followed by a sum and a norm."""

    def __init__(self, weights: dict[str, np.ndarray], name: str, rank: int) -> None:
        super().__init__()
        places = {
            "query": "attention.self.query",
            "key": "attention.self.key",
            "value": "attention.self.value",
            "output": "attention.output.dense",
            "up": "intermediate.dense",
            "down": "output.dense",
        }
        self.dense = {key: _dense(weights, f"{name}.{place}", rank) for key, place in places.items()}
        self.norms = [_norm(weights, f"{name}.{part}.LayerNorm") for part in ("attention.output", "output")]

    def call(self, hidden_BTD: tf.Tensor, mask_BT: tf.Tensor) -> tf.Tensor:
        """Return the hidden states of the next layer, B×T×D."""
        query, key, value = (self._split(self.dense[name](hidden_BTD)) for name in ("query", "key", "value"))
        scores = ops.einsum("bthd,bshd->bhts", query, key) / (WIDTH // HEADS) ** 0.5
        shares = ops.softmax(scores + (mask_BT[:, None, None, :] - 1) * 1e9)
        mixed = ops.reshape(ops.einsum("bhts,bshd->bthd", shares, value), (-1, TOKENS, WIDTH))
        hidden_BTD = self.norms[0](hidden_BTD + self.dense["output"](mixed))
        inner = ops.gelu(self.dense["up"](hidden_BTD), approximate=False)
        return self.norms[1](hidden_BTD + self.dense["down"](inner))

    @staticmethod
    def _split(states_BTD: tf.Tensor) -> tf.Tensor:
        return ops.reshape(states_BTD, (-1, TOKENS, HEADS, WIDTH // HEADS))


def _dense(weights: dict[str, np.ndarray], name: str, rank: int) -> keras.layers.Dense:
    """Return a frozen dense layer with LoRA; Keras stores the matrix the other way round."""
    kernel = weights[f"{name}.weight"].T
    layer = keras.layers.Dense(kernel.shape[1])
    layer.build((None, kernel.shape[0]))
    layer.set_weights([kernel, weights[f"{name}.bias"]])
    layer.enable_lora(rank, lora_alpha=2 * rank)
    layer.bias.trainable = False
    return layer


def _norm(weights: dict[str, np.ndarray], name: str) -> keras.layers.LayerNormalization:
    layer = keras.layers.LayerNormalization(epsilon=1e-12)
    layer.build((None, None, WIDTH))
    layer.set_weights([weights[f"{name}.weight"], weights[f"{name}.bias"]])
    layer.trainable = False
    return layer


def encode(texts: list[str]) -> np.ndarray:
    """Return the token ids of each text, padded with 0 to ``TOKENS``."""
    tokenizer = Tokenizer.from_file(str(fetch("minilm") / "tokenizer.json"))
    tokenizer.enable_truncation(TOKENS)
    tokenizer.enable_padding(length=TOKENS)
    return np.array([row.ids for row in tokenizer.encode_batch(texts)], dtype=np.int32)


def split(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return token ids and label ids of a split of the packaged film reviews."""
    rows = read_table(Source(origin=Origin.PACKAGED, name="vader-movie"), required=("text", "label"))
    rows = rows.shuffle(seed=0).select(range(1000)[ROWS[name]])
    return encode(rows["text"][:]), np.array(rows["label"][:])


def measure(model: Encoder, rows: tuple[np.ndarray, np.ndarray]) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
    """Return loss and accuracy on rows, with the loss and the predicted class of each."""
    logits = np.concatenate([model(part).numpy() for part in np.array_split(rows[0], max(1, len(rows[0]) // 50))])
    losses = keras.losses.sparse_categorical_crossentropy(rows[1], logits, from_logits=True).numpy()
    predictions = logits.argmax(1)
    return {"loss": float(losses.mean()), "accuracy": float((predictions == rows[1]).mean())}, losses, predictions


def run(config: "Config", report: "Report") -> None:
    """Train the LoRA matrices and the head of one trial, from its newest checkpoint or from the beginning."""
    tf.config.threading.set_intra_op_parallelism_threads(config.threads)
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(config.seed)
    model = Encoder(Path(fetch("minilm")), config["rank"])
    optimizer = keras.optimizers.AdamW(config["learning_rate"], weight_decay=config["weight_decay"], clipnorm=1.0)
    optimizer.build(model.trainable_variables)
    splits = {name: split(name) for name in ("train", "validation")}
    if config.checkpoint is not None:
        restore(model.trainable_variables, config.checkpoint / "lora.npz")
        restore(optimizer.variables, config.checkpoint / "resume" / "optimizer.npz")

    @tf.function
    def step(ids: tf.Tensor, labels: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            logits = model(ids)
            loss = ops.mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
        )

    ids, labels = splits["train"]
    for samples in range(
        config.start_samples + config["batch_size"], config.samples + config["batch_size"], config["batch_size"]
    ):
        # The rows of a batch follow from the seed and the samples alone, so a resumed trial draws the same rows.
        rows = np.random.default_rng([config.seed, samples]).choice(len(ids), config["batch_size"], replace=False)
        step(ids[rows], labels[rows])
        if report.due(samples):
            metrics = {f"val/{name}": value for name, value in measure(model, splits["validation"])[0].items()}
            metrics["train/loss"] = measure(model, (ids[:100], labels[:100]))[0]["loss"]
            report(metrics, samples=samples, checkpoint=save(config, model, optimizer))


def save(config: "Config", model: Encoder, optimizer: keras.Optimizer) -> Path:
    """Write the trained matrices. ``save_weights`` would merge LoRA into the frozen weights, and could not resume."""
    folder = config.folder / "checkpoint"
    (folder / "resume").mkdir(parents=True, exist_ok=True)
    np.savez(folder / "lora.npz", *[variable.numpy() for variable in model.trainable_variables])
    np.savez(folder / "resume" / "optimizer.npz", *[variable.numpy() for variable in optimizer.variables])
    (folder / "rank").write_text(str(config["rank"]))
    return folder


def restore(variables: list[keras.Variable], file: Path) -> None:
    """Assign the stored values to variables, in order."""
    stored = np.load(file)
    for variable, name in zip(variables, stored.files, strict=True):
        variable.assign(stored[name])


def load(folder: Path) -> "Sentiment":
    """Return the model of a checkpoint; ``mlflow.pyfunc.load_model`` calls this for the promoted version."""
    model = Encoder(Path(fetch("minilm")), int((folder / "rank").read_text()))
    restore(model.trainable_variables, folder / "lora.npz")
    return Sentiment(model)


class Sentiment:
    """A trained classifier for data frames with the column ``text``."""

    def __init__(self, model: Encoder) -> None:
        self.model = model

    def predict(self, frame: "pd.DataFrame") -> list[str]:
        """Return the label of each row."""
        return [LABELS[place] for place in self.model(encode([*frame["text"]])).numpy().argmax(1)]


def test(config: "Config", checkpoint: Path) -> dict[str, Any]:
    """Return the metrics of a kept checkpoint on the test rows, and the values of each row."""
    tf.config.threading.set_intra_op_parallelism_threads(config.threads)
    rows = split("test")
    metrics, losses, predictions = measure(load(checkpoint).model, rows)
    return {**metrics, "rows": {"losses": losses, "predictions": predictions, "references": rows[1]}}

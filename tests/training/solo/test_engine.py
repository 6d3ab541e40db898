"""The solo engine fulfils the engines' contract."""

import threading
from pathlib import Path

from orchestrator.core.methods.quantisation import Quantisation
from orchestrator.core.space import ParamValue
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.trials.trial import TrialTask
from orchestrator.objective.protocol import Objective
from orchestrator.training.context import EngineContext
from orchestrator.training.engine import Engine
from orchestrator.training.solo.engine import SoloEngine
from tests import needs
from tests.contracts.engine_contract import AdapterContract, EngineContract, MethodContract
from tests.fakes.tiny_models import bert_without_pooler, tiny_bert, tiny_gpt2, tiny_llama, tiny_roberta, tiny_t5
from tests.fakes.tiny_objective import TinyCausal, TinyClassification, TinySeq2Seq


class Solo:
    objective: Objective

    def engine(self, plan: EnginePlan) -> Engine:
        return SoloEngine(EngineContext(plan, self.objective))

    def holds(self, engine: Engine, number: int) -> bool:
        return any(thread.name == f"trial {number}" for thread in threading.enumerate())


class TestBert(Solo, EngineContract):
    objective = TinyClassification()
    targets = "query, value"

    def write_model(self, folder: Path) -> Path:
        return tiny_bert(folder)


class TestLlama(Solo, EngineContract):
    objective = TinyCausal()
    targets = "q_proj,v_proj"

    def write_model(self, folder: Path) -> Path:
        return tiny_llama(folder)


class TestT5(Solo, AdapterContract):
    """An encoder and a decoder."""

    objective = TinySeq2Seq()
    targets = "q,v,wo"

    def write_model(self, folder: Path) -> Path:
        return tiny_t5(folder)


class TestRoberta(Solo, AdapterContract):
    """A head of two layers under ``modules_to_save``."""

    objective = TinyClassification()
    targets = "query,dense"

    def write_model(self, folder: Path) -> Path:
        return tiny_roberta(folder)


class TestGpt2(Solo, AdapterContract):
    """Layers with transposed weights, a tied head, and attention dropout."""

    objective = TinyCausal()
    targets = "c_attn,c_proj"

    def write_model(self, folder: Path) -> Path:
        return tiny_gpt2(folder)


class TestBertWithoutPooler(Solo, AdapterContract):
    """A pooler missing in the model's files is random, so it is trained and saved with the adapter."""

    objective = TinyClassification()
    targets = "query"

    def write_model(self, folder: Path) -> Path:
        return bert_without_pooler(folder)


@needs.bitsandbytes
class TestBertIn4Bits(Solo, EngineContract):
    objective = TinyClassification()
    targets = "query, value"
    quantisation = Quantisation.NF4

    def write_model(self, folder: Path) -> Path:
        return tiny_bert(folder, width=64)


@needs.bitsandbytes
class TestLoftQ(Solo, MethodContract):
    """Adapters that correct the rounding of the base model load on the quantised base model."""

    objective = TinyCausal()
    targets = "q_proj,v_proj"
    quantisation = Quantisation.NF4

    def write_model(self, folder: Path) -> Path:
        return tiny_llama(folder, width=64)

    def task(self, number: int = 0, seed: int = 7, **settings: ParamValue) -> TrialTask:
        return super().task(number, seed, **{**settings, "init": "loftq"})


@needs.bitsandbytes
class TestBertIn8Bits(TestBertIn4Bits):
    quantisation = Quantisation.INT8

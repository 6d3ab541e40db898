"""The packed engine, behind the router, fulfils the engines' contract."""

from pathlib import Path

from orchestrator.core.methods.quantisation import Quantisation
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.objective.protocol import Objective
from orchestrator.training.context import EngineContext
from orchestrator.training.engine import Engine
from orchestrator.training.mixed import MixedEngine
from tests import needs
from tests.contracts.engine_contract import AdapterContract, EngineContract
from tests.fakes.tiny_models import bert_without_pooler, tiny_bert, tiny_gpt2, tiny_llama, tiny_roberta, tiny_t5
from tests.fakes.tiny_objective import TinyCausal, TinyClassification, TinySeq2Seq


class Packed:
    objective: Objective
    bfloat16_error = 1e-2  # reports are measured in the number format of training

    def engine(self, plan: EnginePlan) -> Engine:
        return MixedEngine(EngineContext(plan, self.objective))

    def holds(self, engine: Engine, number: int) -> bool:
        assert isinstance(engine, MixedEngine)
        return engine.holds(number)


class TestBert(Packed, EngineContract):
    objective = TinyClassification()
    targets = "query, value"

    def write_model(self, folder: Path) -> Path:
        return tiny_bert(folder)


class TestLlama(Packed, EngineContract):
    objective = TinyCausal()
    targets = "q_proj,v_proj"

    def write_model(self, folder: Path) -> Path:
        return tiny_llama(folder)


class TestT5(Packed, AdapterContract):
    objective = TinySeq2Seq()
    targets = "q,v,wo"
    test_two_bytes = EngineContract.test_two_bytes_are_close_to_float32

    def write_model(self, folder: Path) -> Path:
        return tiny_t5(folder)


class TestRoberta(Packed, AdapterContract):
    objective = TinyClassification()
    targets = "query,dense"

    def write_model(self, folder: Path) -> Path:
        return tiny_roberta(folder)


class TestGpt2(Packed, AdapterContract):
    objective = TinyCausal()
    targets = "c_attn,c_proj"

    def write_model(self, folder: Path) -> Path:
        return tiny_gpt2(folder)


class TestBertWithoutPooler(Packed, AdapterContract):
    objective = TinyClassification()
    targets = "query"

    def write_model(self, folder: Path) -> Path:
        return bert_without_pooler(folder)


@needs.bitsandbytes
class TestBertIn4Bits(Packed, EngineContract):
    objective = TinyClassification()
    targets = "query, value"
    quantisation = Quantisation.NF4

    def write_model(self, folder: Path) -> Path:
        return tiny_bert(folder, width=64)


@needs.bitsandbytes
class TestBertIn8Bits(TestBertIn4Bits):
    quantisation = Quantisation.INT8


@needs.bitsandbytes
class TestGpt2In4Bits(Packed, AdapterContract):
    """Layers with transposed weights; in 4 bits they are not transposed."""

    objective = TinyCausal()
    targets = "c_attn,c_proj"
    quantisation = Quantisation.NF4

    def write_model(self, folder: Path) -> Path:
        return tiny_gpt2(folder, width=64)

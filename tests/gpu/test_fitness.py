"""The same models can be packed on a GPU as on a CPU."""

from tests import needs
from tests.training.packed.test_fitness import test_reason_not_to_pack_by_model  # noqa: F401

pytestmark = needs.cuda

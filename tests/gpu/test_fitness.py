"""The same models can be packed on a GPU as on a CPU."""

from tests import needs
from tests.training.packed.limits.test_fitness import test_models_are_tried

pytestmark = needs.cuda

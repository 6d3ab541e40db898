"""The packed engine fulfils the engines' contract on a GPU."""

from tests import needs
from tests.training.packed.test_engine import *

pytestmark = needs.cuda

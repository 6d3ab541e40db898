"""The solo engine fulfils the engines' contract on a GPU."""

from tests import needs
from tests.training.solo.test_engine import *

pytestmark = needs.cuda

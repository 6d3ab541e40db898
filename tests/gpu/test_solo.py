"""The solo engine fulfils the engines' contract on a GPU."""

from tests import needs
from tests.training.test_solo import *

pytestmark = needs.cuda

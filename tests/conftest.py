"""What holds for every test process."""

import os

# Several test processes share the cores: threads of tiny products would wait for each other most of the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

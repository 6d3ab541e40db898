from benchmarks.shipped_sweep import EARLIER, SHIPPED, SweepRun
from orchestrator.api import load_sweep


def test_a_run_holds_a_value_from_the_first_report_that_reaches_it() -> None:
    run = SweepRun(
        seconds=60.0,
        searched=50.0,
        best_so_far=((10.0, 0.7), (20.0, 0.8), (40.0, 0.85)),
        trials=3,
        samples=300,
        test=0.84,
    )
    assert run.held(0.8) == 20.0
    assert run.held(0.81) == 40.0
    assert run.held(0.9) is None


def test_both_files_search_the_same_space_on_the_same_rows() -> None:
    earlier, shipped = load_sweep(EARLIER), load_sweep(SHIPPED)
    assert earlier.space == shipped.space
    assert (earlier.data, earlier.metric, earlier.fixed) == (shipped.data, shipped.metric, shipped.fixed)

"""Early stopping: pure functions of the trials' records, independent of clock and order of arrival."""

"""When a trial stops: pure functions of the trials' records, without clock, order of arrival or state of their own."""

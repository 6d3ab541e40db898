"""Reports of a sweep: leaderboard, importances, time use, charts and HTML page."""

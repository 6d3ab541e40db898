"""Reports of a sweep: leaderboard, importances, time use, pictures and HTML page."""

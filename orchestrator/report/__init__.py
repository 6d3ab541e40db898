"""What a sweep found: leaderboard, importances, pictures and a page."""

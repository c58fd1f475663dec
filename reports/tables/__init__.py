"""Reports of the paper's Tables 1 to 9, of the leaderboard and of users' sweeps, one file each."""

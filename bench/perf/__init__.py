"""What the harness costs and what freezing saves, as ratios timed side by side on this machine."""

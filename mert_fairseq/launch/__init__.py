"""From one command to training processes: how many there are, where they meet, and how they end when the scheduler says so."""

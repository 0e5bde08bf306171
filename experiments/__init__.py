"""The chapter's claims, each as an experiment: one file, one command, a seed, and thresholds the weaker model fails."""

"""One picture: its directory, record, log, checkpoints, plan and pipeline."""

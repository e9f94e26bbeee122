"""Many pictures at once: jobs, their ledger, and the workers that paint them. Nothing here imports torch by itself."""

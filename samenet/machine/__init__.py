"""The machine: its CPUs and GPUs, its lock, and what its counters say about a round."""

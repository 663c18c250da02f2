"""The same campaign on each host of a fleet: Dask carries it there, and its files back."""

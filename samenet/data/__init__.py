"""The images: MNIST from a folder, the cache or a mirror, else scikit-learn's digits."""

from samenet.data.idx import Dataset, Split
from samenet.data.mnist import cache_folder, load

__all__ = ["Dataset", "Split", "cache_folder", "load"]

"""The network in each framework: what runs inside the workers, on numpy, the standard library and one framework."""

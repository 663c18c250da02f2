"""The network in each framework: what runs inside the workers, with numpy, the stdlib and one framework."""

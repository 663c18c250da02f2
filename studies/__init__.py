"""The evidence behind the method: campaigns repeated, to see how far their answers can be trusted."""

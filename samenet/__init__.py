"""The engine of samenet as a library."""

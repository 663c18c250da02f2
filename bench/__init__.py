"""What pytest sees: options, hooks, one test for each case, and the display."""

"""From measured rounds to statistics, tables and verdicts."""

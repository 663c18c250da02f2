"""The harness: data, reference, workers and the campaign that measures them."""

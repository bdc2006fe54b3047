"""Models in hand: loading, hooks, answering."""

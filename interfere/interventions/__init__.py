"""What needs a model in hand and a measure: change something inside it, ask again."""

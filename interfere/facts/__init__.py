"""What a model can be asked, and where it comes from."""

"""What a model knows: SLiCK categories and the splits made from them."""

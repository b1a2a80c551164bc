"""Score networks, and the score models made of them."""

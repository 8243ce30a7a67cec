"""A custom user model, as real sites have them."""

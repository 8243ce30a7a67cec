"""Live channels: their life, publications, delivery and polling."""

"""Live channels: lifecycle, publications, delivery and polling."""

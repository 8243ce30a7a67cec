"""Whether clients lose their place: what they received while the network or the server failed."""

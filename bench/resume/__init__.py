"""Check that clients miss nothing unannounced while the network or the server fails."""

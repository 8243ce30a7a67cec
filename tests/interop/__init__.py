"""With programs that we did not write: the genuine Hookbox 0.3.3 and its browser client."""

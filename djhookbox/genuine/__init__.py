"""Everything that exists only for the genuine Hookbox 0.3.3."""

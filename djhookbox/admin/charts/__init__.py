"""Charts over time: inline SVG without scripts and styles, with a table for each."""

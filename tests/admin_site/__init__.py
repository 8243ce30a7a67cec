"""A site whose admin is looked at in a browser: in each state, language and theme."""

"""Channel policies as pure values: patterns, rules, coverage. No database."""

"""The parts of `manage.py hookbox`: one class for each subcommand."""

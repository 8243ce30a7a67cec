"""Find out why browsers cannot connect: `manage.py hookbox doctor`, one object for each check."""

"""The admin pages of the audit log."""

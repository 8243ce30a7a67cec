"""The contract between the site and the process."""

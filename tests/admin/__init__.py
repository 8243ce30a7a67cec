"""The admin pages, with a stand-in for the REST calls."""

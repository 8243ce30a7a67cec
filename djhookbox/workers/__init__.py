"""Several Hookbox processes behind one port: a supervisor, and the workers that it starts."""

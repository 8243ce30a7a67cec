"""System checks: one for each mistake that can be found without running anything.

Importing this package registers them. `manage.py check --tag djhookbox` runs only these checks.
"""

from . import cookies, databases, engines, settings

__all__ = ["cookies", "databases", "engines", "settings"]

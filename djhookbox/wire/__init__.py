"""The contract between the site and the Hookbox process; pure Python that both import."""

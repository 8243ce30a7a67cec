"""What the site and the Hookbox process have agreed on; pure Python that both import."""

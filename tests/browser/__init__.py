"""Pages in Chromium and Firefox: the client, the demo, the admin."""

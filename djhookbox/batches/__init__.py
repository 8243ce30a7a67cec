"""Answer many webhooks of many connections with one request."""

"""The demo: a realistic B2B SaaS stream sent over HTTP like any client, and the answers an analyst gets from it."""

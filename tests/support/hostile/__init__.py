"""A seeded stream of hostile accepted records, and what either build of the hot modules, pure or compiled, makes of it."""

"""An index over HTTP, with a page to search it."""

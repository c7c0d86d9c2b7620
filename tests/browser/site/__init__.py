"""The site that the element's tests visit: pages with rows, each put there by an event."""

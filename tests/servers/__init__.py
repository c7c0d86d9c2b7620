"""The package under real servers, with real sockets as its clients."""

"""The tests; a package of its own, since a dependency of Chainlit installs another of this name."""

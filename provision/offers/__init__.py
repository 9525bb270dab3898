"""From requirements to a request: which type, where, at which price. Asks AWS, changes nothing there."""

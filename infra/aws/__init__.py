"""AWS: one client class for each service used; waits and retries inside; AWS's error codes mapped to ours."""

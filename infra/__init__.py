"""The outside world: AWS, SSH, the Docker engine, the host. Nothing here knows what is being trained."""

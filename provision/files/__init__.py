"""Files between this laptop, a host and S3: whole or not at all."""

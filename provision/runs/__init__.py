"""What a run is: its folder in S3, read and written from any laptop, without a machine."""

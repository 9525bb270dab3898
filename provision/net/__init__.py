"""Caffe nets: read, draw, check and build them. Nothing here runs Caffe."""

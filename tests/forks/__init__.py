"""The recipes on forks of Caffe: their sources are fetched, their images built."""

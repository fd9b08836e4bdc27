"""Screen films in the processes of a Dask cluster."""

"""Films are screened by the processes of a Dask cluster."""

"""The pages people see: the dashboard and the phone page, as static files that ask the API for everything."""

"""Complete models, one file each, their config first."""

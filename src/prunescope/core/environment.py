"""The environment variables by which a server tells its kernels of uploads."""

UPLOADS_VARIABLE = "PRUNESCOPE_UPLOADS"
"""The kernel's private upload folder; the server creates it, and removes it once the kernel has ended."""

MAX_UPLOAD_VARIABLE = "PRUNESCOPE_MAX_UPLOAD"
"""Most bytes that the uploads of one session may take together."""

DEFAULT_MAX_UPLOAD = 1_000_000_000
"""The default limit."""

"""The environment variables by which a server tells its kernels what visitors may do."""

UPLOADS_VARIABLE = "PRUNESCOPE_UPLOADS"
"""The kernel's private upload folder; the server creates it, and removes it once the kernel has ended."""

MAX_UPLOAD_VARIABLE = "PRUNESCOPE_MAX_UPLOAD"
"""Most bytes that the uploads of one session may take together."""

DEFAULT_MAX_UPLOAD = 1_000_000_000
"""The default limit."""

TRAINING_VARIABLE = "PRUNESCOPE_TRAINING_SECONDS"
"""How long a visitor may train at a time; where it is not set, not at all."""

TRAINING_SECONDS = 60
"""How long that is where training is allowed."""

"""The environment variables by which a server tells its kernels what visitors may do."""

UPLOADS_VARIABLE = "PRUNESCOPE_UPLOADS"
"""The kernel's own folder for uploads; the server makes it, and removes it when the kernel is gone."""

MAX_UPLOAD_VARIABLE = "PRUNESCOPE_MAX_UPLOAD"
"""How many bytes uploads may have, those of one session together."""

DEFAULT_MAX_UPLOAD = 1_000_000_000
"""Unless the person who serves says otherwise."""

TRAINING_VARIABLE = "PRUNESCOPE_TRAINING_SECONDS"
"""How long a visitor may train at a time; where it is not set, not at all."""

TRAINING_SECONDS = 60
"""How long that is where training is allowed."""

"""Writing files whole or not at all."""

import os
import uuid
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all: one of that name is replaced in one step, only once all is written.

    Args:
        path: File to write, in a folder that exists.
        content: What it shall hold.

    Raises:
        OSError: If it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        if error.filename is None:
            raise
        raise type(error)(error.errno, error.strerror, str(path)) from error  # not in the name of the temporary file
    finally:
        temporary.unlink(missing_ok=True)

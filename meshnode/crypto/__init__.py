"""Floor 1: functions on bytes; the only importer of cryptography and cpace."""

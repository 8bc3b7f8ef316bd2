"""Control subjects of the instrument, and the conformance kit for third-party plug-ins."""

"""Where other tools' programs call the audit: one module per tool, and the only place outside the adapters that imports one."""

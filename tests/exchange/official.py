"""Validates exports against the official schemas of their forms."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

SCHEMAS = Path(__file__).resolve().parents[1] / "fixtures" / "schemas"


def oscal_errors(document) -> list[str]:
    text = (SCHEMAS / "oscal_assessment-results_schema-1.2.1.json").read_text()
    # The schema's patterns are those of ECMA 262; Python spells letters and digits otherwise.
    schema = json.loads(text.replace(r"\\p{L}", r"[^\\W\\d_]").replace(r"\\p{N}", r"\\d"))
    return [
        f"{list(error.path)}: {error.message}" for error in jsonschema.Draft7Validator(schema).iter_errors(document)
    ]


def cyclonedx_errors(document) -> list[str]:
    """What the official schema of the version that a document names finds wrong with it."""
    version = document["specVersion"]
    schema = json.loads((SCHEMAS / f"bom-{version}.SNAPSHOT.schema.json").read_text())
    closed = dict.fromkeys(("signature", "algorithmFamiliesEnum", "ellipticCurvesEnum"), False)
    stand_in = {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": closed}
    base = "http://cyclonedx.org/schema/"
    registry = Registry().with_resources(
        [
            (f"{base}{name}", Resource.from_contents(stand_in, DRAFT7))
            for name in (
                "spdx.SNAPSHOT.schema.json",
                "jsf-0.82.SNAPSHOT.schema.json",
                "cryptography-defs.SNAPSHOT.schema.json",
            )
        ]
    )
    validator = jsonschema.Draft7Validator(schema, registry=registry)
    return [f"{list(error.path)}: {error.message}" for error in validator.iter_errors(document)]

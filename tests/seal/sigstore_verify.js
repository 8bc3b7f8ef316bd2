// Verifies a Sigstore bundle with @sigstore/verify and a public key, and that a file is a subject of its statement.
// node sigstore_verify.js BUNDLE PUBLIC_KEY FILE   (NODE_PATH names the folder of the packages)
"use strict";
const fs = require("fs");
const crypto = require("crypto");
const { bundleFromJSON } = require("@sigstore/bundle");
const { toSignedEntity, toTrustMaterial, Verifier } = require("@sigstore/verify");

const [bundlePath, keyPath, filePath] = process.argv.slice(2);
const bundle = bundleFromJSON(JSON.parse(fs.readFileSync(bundlePath, "utf8")));
const publicKey = crypto.createPublicKey(fs.readFileSync(keyPath));
const finder = (hint) => {
  const known = crypto.createHash("sha256").update(publicKey.export({ format: "der", type: "spki" })).digest("hex");
  if (hint !== known) throw new Error("the bundle names another key");
  return { publicKey, validFor: () => true };
};
const trusted = toTrustMaterial(
  { mediaType: "", certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [] }, finder);
const thresholds = { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 };
new Verifier(trusted, thresholds).verify(toSignedEntity(bundle));
const statement = JSON.parse(bundle.content.dsseEnvelope.payload.toString());
const digest = crypto.createHash("sha256").update(fs.readFileSync(filePath)).digest("hex");
if (!statement.subject.some((item) => item.digest.sha256 === digest)) throw new Error("the file is no subject");
console.log("verified", statement.predicateType);

// A Sigstore of our own on loopback: Fulcio and Rekor of @sigstore/mock behind HTTP. Prints its client trust configuration, then serves.
// node sigstore_services.js   (NODE_PATH names the folder of the packages)
"use strict";
const crypto = require("crypto");
const http = require("http");
const mock = require("@sigstore/mock");

const pair = (curve) => crypto.generateKeyPairSync("ec", { namedCurve: curve || "P-256" });
const der = (key) => key.export({ format: "der", type: "spki" });
const sha256 = (bytes) => crypto.createHash("sha256").update(bytes).digest();

// What Rekor makes of a proposed entry: the envelope itself is not kept.
const kept = (proposed) => {
  if (proposed.kind !== "dsse") return proposed;
  const content = proposed.spec.proposedContent;
  const envelope = JSON.parse(content.envelope);
  const hash = (bytes) => ({ algorithm: "sha256", value: sha256(bytes).toString("hex") });
  return {
    apiVersion: proposed.apiVersion, kind: "dsse",
    spec: {
      envelopeHash: hash(Buffer.from(content.envelope)),
      payloadHash: hash(Buffer.from(envelope.payload, "base64")),
      signatures: envelope.signatures.map((one) => ({ signature: one.sig, verifier: content.verifiers[0] })),
    },
  };
};

// The token in the header and the request in base64, as one client sends them, where the mock looks for them.
const asked = (plain, header) => ({
  credentials: { oidcIdentityToken: header.replace("Bearer ", "") },
  certificateSigningRequest: Buffer.from(plain.certificateSigningRequest, "base64").toString(),
});

(async () => {
  const keys = { ct: pair(), ca: pair("P-384"), log: pair() };
  const server = http.createServer();
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const url = `http://127.0.0.1:${server.address().port}`;
  const ct = await mock.initializeCTLog(keys.ct);
  const ca = await mock.initializeCA(keys.ca, ct);
  const log = await mock.initializeTLog(url, keys.log);
  const handlers = [mock.fulcioHandler(ca), mock.rekorHandler(log)];
  server.on("request", (request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", async () => {
      const handler = handlers.find((one) => request.url === one.path);
      if (!handler) { response.writeHead(404).end(); return; }
      let body = Buffer.concat(chunks).toString();
      if (request.url.includes("/log/")) body = JSON.stringify(kept(JSON.parse(body)));
      else body = JSON.stringify(asked(JSON.parse(body), request.headers.authorization || ""));
      const answer = await handler.fn(body);
      if (answer.statusCode >= 400) console.error(answer.response);
      response.writeHead(answer.statusCode, { "Content-Type": answer.contentType || "text/plain" });
      response.end(answer.response);
    });
  });
  const since = { start: "2020-01-01T00:00:00Z" };
  const logged = (key) => ({
    baseUrl: url, hashAlgorithm: "SHA2_256", logId: { keyId: sha256(der(key)).toString("base64") },
    publicKey: { rawBytes: der(key).toString("base64"), keyDetails: "PKIX_ECDSA_P256_SHA_256", validFor: since },
  });
  const service = { url, majorApiVersion: 1, validFor: since, operator: "loopback" };
  const config = {
    mediaType: "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
    trustedRoot: {
      mediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
      tlogs: [logged(keys.log.publicKey)],
      ctlogs: [logged(keys.ct.publicKey)],
      certificateAuthorities: [{
        subject: { organization: "sigstore.mock", commonName: "sigstore" }, uri: url, validFor: since,
        certChain: { certificates: [{ rawBytes: Buffer.from(ca.rootCertificate).toString("base64") }] },
      }],
      timestampAuthorities: [],
    },
    signingConfig: {
      mediaType: "application/vnd.dev.sigstore.signingconfig.v0.2+json",
      caUrls: [service], oidcUrls: [service], rekorTlogUrls: [service], rekorTlogConfig: { selector: "ANY" },
      tsaUrls: [], tsaConfig: { selector: "ANY" },
    },
  };
  console.log(JSON.stringify(config));
})();

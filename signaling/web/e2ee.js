// SPDX-License-Identifier: Apache-2.0

/**
 * End-to-end encryption of pictures and sound: the server forwards what it cannot read. See docs/e2ee.md.
 *
 * One key for all of a room, made from a passphrase that participants tell each other; neither ever leaves the browser.
 */

import { SfuError } from "./signal.js";

/** Codecs whose packetizers do not look into the frames; of the others H.264 and AV1 do. */
export const ENCRYPTABLE_CODECS = ["VP8", "VP9"];

/** OWASP's recommendation for PBKDF2 with HMAC-SHA256. */
const ITERATIONS = 600_000;
const SALT_PREFIX = "pysfu e2ee ";
const KEY_BITS = 256;

/** @typedef {{transform: any, createEncodedStreams?: () => {readable: ReadableStream, writable: WritableStream}}} Transformable */

export class Encryption {
  #worker;
  /** @type {Map<number, () => void>} */
  #receivers = new Map();
  #lastId = 0;

  /** @param {CryptoKey} key AES-GCM */
  constructor(key) {
    // By way of a blob: a page of another origin may import this library, but not start its files as workers.
    const source = `import ${JSON.stringify(new URL("./e2ee-worker.js", import.meta.url).href)};`;
    const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    this.#worker = new Worker(address, { type: "module" });
    this.#worker.addEventListener("message", ({ data }) => {
      URL.revokeObjectURL(address);
      if (data.type === "undecryptable") this.#receivers.get(data.id)?.();
    });
    this.#worker.postMessage({ type: "key", key });
  }

  /** Whether this browser can do it at all. */
  static get supported() {
    return globalThis.isSecureContext && ("RTCRtpScriptTransform" in globalThis || "createEncodedStreams" in (globalThis.RTCRtpSender?.prototype ?? {}));
  }

  /** The same passphrase in another room makes another key. @param {string} passphrase @param {string} room */
  static async fromPassphrase(passphrase, room) {
    if (!Encryption.supported) {
      throw new SfuError("encryption", "This browser cannot encrypt a call end to end.", {
        advice: "Use a current browser, over HTTPS.",
        fatal: true,
      });
    }
    const bytes = (/** @type {string} */ text) => new TextEncoder().encode(text);
    const material = await crypto.subtle.importKey("raw", bytes(passphrase.normalize("NFC")), "PBKDF2", false, ["deriveKey"]);
    const derivation = { name: "PBKDF2", hash: "SHA-256", salt: bytes(SALT_PREFIX + room), iterations: ITERATIONS };
    const cipher = { name: "AES-GCM", length: KEY_BITS };
    return new Encryption(await crypto.subtle.deriveKey(derivation, material, cipher, false, ["encrypt", "decrypt"]));
  }

  /** What a PeerConnection must be made with. */
  get configuration() {
    return "RTCRtpScriptTransform" in globalThis ? {} : { encodedInsertableStreams: true };
  }

  /** @param {RTCRtpSender} sender before it sends anything */
  protect(sender) {
    this.#attach(/** @type {Transformable} */ (/** @type {unknown} */ (sender)), { direction: "send", id: 0 });
  }

  /** @param {RTCRtpReceiver} receiver @param {() => void} onUndecryptable  told now and then while nothing can be decrypted */
  open(receiver, onUndecryptable) {
    const id = ++this.#lastId;
    this.#receivers.set(id, onUndecryptable);
    this.#attach(/** @type {Transformable} */ (/** @type {unknown} */ (receiver)), { direction: "receive", id });
  }

  close() {
    this.#receivers.clear();
    this.#worker.terminate();
  }

  /** @param {Transformable} end @param {{direction: string, id: number}} options */
  #attach(end, options) {
    const ScriptTransform = /** @type {any} */ (globalThis).RTCRtpScriptTransform;
    if (ScriptTransform) {
      end.transform = new ScriptTransform(this.#worker, options);
      return;
    }
    const streams = /** @type {{readable: ReadableStream, writable: WritableStream}} */ (end.createEncodedStreams?.());
    this.#worker.postMessage({ type: "streams", ...streams, options }, [streams.readable, streams.writable]);
  }
}

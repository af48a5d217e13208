// SPDX-License-Identifier: Apache-2.0

/**
 * Encrypts and decrypts whole frames, between codec and packetizer; runs in a worker. What leaves, per frame:
 *
 *     clear beginning | AES-GCM ciphertext and tag | IV (12 bytes) | length of the clear beginning (1 byte)
 *
 * The clear beginning of a VP8 frame is its header, by which a server tells keyframes and picture sizes (RFC 6386 §9.1);
 * it is authenticated. Everything else that a server goes by stands outside of the payload.
 */

/** VP8: frame tag, start code and size of a keyframe; frame tag of the others. */
const CLEAR_BYTES = { key: 10, delta: 3 };
const IV_BYTES = 12;
const TRAILER_BYTES = IV_BYTES + 1;
const TAG_BYTES = 16;
/** A stream's IVs are a random half and a counter (RFC 5116 §3.2); before that wraps another half is drawn. */
const MAX_COUNT = 2 ** 32 - 1;
/** A stream that cannot be decrypted is told of this often (ms). */
const TELL_EVERY_MS = 5_000;

/** @type {(key: CryptoKey) => void} */
let haveKey;
/** @type {Promise<CryptoKey>} */
const key = new Promise((resolve) => (haveKey = resolve));

/** @typedef {{type?: string, data: ArrayBuffer}} Frame  an RTCEncodedVideoFrame or RTCEncodedAudioFrame; only the former has a type */
/** @typedef {{enqueue(frame: Frame): void}} Controller */

class Encryptor {
  #iv = new Uint8Array(IV_BYTES);
  #count = MAX_COUNT;

  /** @param {Frame} frame @param {Controller} controller */
  async transform(frame, controller) {
    const data = new Uint8Array(frame.data);
    const clear = Math.min(frame.type === "key" ? CLEAR_BYTES.key : frame.type === "delta" ? CLEAR_BYTES.delta : 0, data.length);
    const iv = this.#nextIv();
    const additionalData = data.subarray(0, clear);
    const sealed = await crypto.subtle.encrypt({ name: "AES-GCM", iv, additionalData }, await key, data.subarray(clear));
    const out = new Uint8Array(clear + sealed.byteLength + TRAILER_BYTES);
    out.set(additionalData);
    out.set(new Uint8Array(sealed), clear);
    out.set(iv, out.length - TRAILER_BYTES);
    out[out.length - 1] = clear;
    frame.data = out.buffer;
    controller.enqueue(frame);
  }

  #nextIv() {
    if (this.#count === MAX_COUNT) {
      crypto.getRandomValues(this.#iv);
      this.#count = 0;
    }
    new DataView(this.#iv.buffer).setUint32(IV_BYTES - 4, this.#count++);
    return this.#iv.slice();
  }
}

class Decryptor {
  #id;
  #toldAt = -Infinity;

  /** @param {number} id names the stream to the page */
  constructor(id) {
    this.#id = id;
  }

  /** What cannot be decrypted is not played. @param {Frame} frame @param {Controller} controller */
  async transform(frame, controller) {
    const data = new Uint8Array(frame.data);
    const clear = data[data.length - 1] ?? 0;
    const end = data.length - TRAILER_BYTES;
    if (end < clear + TAG_BYTES) return this.#fail();
    const additionalData = data.subarray(0, clear);
    const iv = data.subarray(end, end + IV_BYTES);
    try {
      const opened = await crypto.subtle.decrypt({ name: "AES-GCM", iv, additionalData }, await key, data.subarray(clear, end));
      const out = new Uint8Array(clear + opened.byteLength);
      out.set(additionalData);
      out.set(new Uint8Array(opened), clear);
      frame.data = out.buffer;
    } catch {
      return this.#fail();
    }
    controller.enqueue(frame);
  }

  #fail() {
    const now = performance.now();
    if (now - this.#toldAt < TELL_EVERY_MS) return;
    this.#toldAt = now;
    postMessage({ type: "undecryptable", id: this.#id });
  }
}

/** @param {{readable: ReadableStream, writable: WritableStream, options: {direction: "send" | "receive", id: number}}} stream */
function carry({ readable, writable, options }) {
  const transformer = options.direction === "send" ? new Encryptor() : new Decryptor(options.id);
  readable
    .pipeThrough(new TransformStream({ transform: (frame, controller) => transformer.transform(frame, controller) }))
    .pipeTo(writable)
    .catch(() => {}); // the sender or receiver is gone
}

/** RTCRtpScriptTransform */
Object.assign(globalThis, { onrtctransform: (/** @type {any} */ event) => carry(event.transformer) });

addEventListener("message", ({ data }) => {
  if (data.type === "key") haveKey(data.key);
  else if (data.type === "streams") carry(data);
});

// SPDX-License-Identifier: Apache-2.0

import { Emitter } from "./emitter.js";

/** How often the server is asked whether it is still there, and how long it may take (ms). */
const PING_EVERY_MS = 10_000;
const PING_LIMIT_MS = 10_000;
/** Longest wait for an answer to any request, and for the socket to open (ms). */
const REQUEST_LIMIT_MS = 15_000;
const OPEN_LIMIT_MS = 10_000;

/** What the server refused, or what failed on the way: `code` for programs, `message` and `advice` for people. */
export class SfuError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{advice?: string, fatal?: boolean}} [more]
   */
  constructor(code, message, { advice = "", fatal = false } = {}) {
    super(message);
    this.name = "SfuError";
    this.code = code;
    this.advice = advice;
    this.fatal = fatal;
  }
}

/**
 * One websocket: requests with their answers, messages, and the news that it is gone. It never reconnects: the room does,
 * with a new one.
 *
 * @typedef {{type: string, id?: number} & Record<string, any>} Message
 * @extends {Emitter<{message: Message, closed: {code: number, reason: string}}>}
 */
export class Signal extends Emitter {
  /** @type {WebSocket} */
  #socket;
  #nextId = 1;
  /** @type {Map<number, {resolve: (answer: Message) => void, reject: (error: Error) => void, timer: ReturnType<typeof setTimeout>}>} */
  #pending = new Map();
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #pinger;
  #lastHeard = 0;
  #closed = false;

  /** @param {WebSocket} socket an open one */
  constructor(socket) {
    super();
    this.#socket = socket;
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => this.#end(event.code, event.reason);
    this.#lastHeard = performance.now();
    this.#pinger = setInterval(() => this.#ping(), PING_EVERY_MS);
  }

  /**
   * @param {string} url
   * @returns {Promise<Signal>}
   */
  static open(url) {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(url);
      const fail = () => {
        clearTimeout(timer);
        socket.onopen = socket.onclose = socket.onerror = null;
        socket.close();
        reject(new SfuError("unreachable", "The server cannot be reached.", { advice: "Check the address and the network." }));
      };
      const timer = setTimeout(fail, OPEN_LIMIT_MS);
      socket.onerror = socket.onclose = fail;
      socket.onopen = () => {
        clearTimeout(timer);
        socket.onerror = null;
        resolve(new Signal(socket));
      };
    });
  }

  get closed() {
    return this.#closed;
  }

  /**
   * @param {string} type
   * @param {Record<string, unknown>} [fields]
   * @returns {Promise<Message>} the answer; rejected with the server's error
   */
  request(type, fields = {}) {
    if (this.#closed) return Promise.reject(lost());
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(new SfuError("timeout", `The server did not answer "${type}" in time.`));
      }, REQUEST_LIMIT_MS);
      this.#pending.set(id, { resolve, reject, timer });
      this.#socket.send(JSON.stringify({ type, id, ...fields }));
    });
  }

  /** A message that needs no answer. @param {string} type @param {Record<string, unknown>} [fields] */
  send(type, fields = {}) {
    if (!this.#closed) this.#socket.send(JSON.stringify({ type, id: this.#nextId++, ...fields }));
  }

  close() {
    this.#socket.close(1000);
    this.#end(1000, "closed here");
  }

  /** @param {string} text */
  #receive(text) {
    this.#lastHeard = performance.now();
    /** @type {Message} */
    const message = JSON.parse(text);
    const waiting = message.id === undefined ? undefined : this.#pending.get(message.id);
    if (message.id === undefined || !waiting) {
      if (message.type !== "pong") this.emit("message", message);
      return;
    }
    this.#pending.delete(message.id);
    clearTimeout(waiting.timer);
    if (message.type !== "error") {
      waiting.resolve(message);
      return;
    }
    waiting.reject(errorOf(message));
    if (message.fatal) this.emit("message", message);
  }

  #ping() {
    if (performance.now() - this.#lastHeard > PING_EVERY_MS + PING_LIMIT_MS) {
      this.#socket.close();
      this.#end(1006, "the server went silent");
      return;
    }
    this.request("ping").catch(() => {});
  }

  /** @param {number} code @param {string} reason */
  #end(code, reason) {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#pinger);
    this.#socket.onmessage = this.#socket.onclose = null;
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(lost());
    }
    this.#pending.clear();
    this.emit("closed", { code, reason });
  }
}

/** @param {Message} message @returns {SfuError} */
export function errorOf(message) {
  return new SfuError(message.code ?? "error", message.message ?? "The server reported an error.", {
    advice: message.advice ?? "",
    fatal: message.fatal ?? false,
  });
}

function lost() {
  return new SfuError("connection_lost", "The connection to the server was lost.");
}

// SPDX-License-Identifier: Apache-2.0

import { MediaConnection } from "./media.js";
import { Signal } from "./signal.js";

const PROTOCOL_VERSION = 1;
/** How long a new connection may take to be ready before the one that it replaces is given up all the same (ms). */
const REPLACE_LIMIT_MS = 10_000;
const LOOK_EVERY_MS = 50;

/**
 * One join: a websocket, the answer to the join, and the PeerConnection negotiated over it, which may be replaced. A room
 * that comes back after a loss has a new session.
 *
 * @typedef {import("./signal.js").Message} Message
 * @typedef {import("./media.js").MediaHandlers} MediaHandlers
 */
export class Session {
  #handlers;
  /** @type {Promise<unknown>} */
  #negotiation = Promise.resolve();
  /** The new connection is not ready yet: what the old one says no longer matters. */
  replacing = false;

  /**
   * @param {Signal} signal
   * @param {Message} joined
   * @param {MediaHandlers} handlers
   */
  constructor(signal, joined, handlers) {
    this.#handlers = handlers;
    this.signal = signal;
    this.joined = joined;
    this.media = this.#makeMedia();
  }

  /**
   * @param {string} url
   * @param {{room: string, name: string, identity?: string, token?: string}} who
   * @param {MediaHandlers} handlers
   * @returns {Promise<Session>} joined; nothing is negotiated yet
   */
  static async join(url, who, handlers) {
    const signal = await Signal.open(url);
    try {
      return new Session(signal, await signal.request("join", { version: PROTOCOL_VERSION, ...who }), handlers);
    } catch (error) {
      signal.close();
      throw error;
    }
  }

  #makeMedia() {
    const media = new MediaConnection(this.#handlers, this.joined);
    media.setIceServers(this.joined.ice);
    return media;
  }

  /** Puts an empty connection in the place of the one that there is. @returns {MediaConnection} the old one, still open */
  swapMedia() {
    const before = this.media;
    this.media = this.#makeMedia();
    return before;
  }

  /** One offer after the other: a second one waits for the first answer. @returns {Promise<void>} */
  negotiate() {
    const turn = this.#negotiation.catch(() => {}).then(() => this.#offer());
    this.#negotiation = turn;
    return turn;
  }

  async #offer() {
    const { media } = this;
    const offer = await media.createOffer();
    try {
      const answer = await this.signal.request("offer", offer);
      await media.applyAnswer(answer.sdp);
      for (const { mid, id, number } of answer.publications) {
        const local = media.publicationAt(mid);
        if (local) [local.id, local.number] = [id, number];
      }
    } catch (error) {
      await media.takeBackOffer();
      throw error;
    }
  }

  /** Make before break. @returns {Promise<boolean>} whether the connection carries media; false when it does not get to it */
  async ready() {
    const deadline = performance.now() + REPLACE_LIMIT_MS;
    while (!["connected", "failed", "closed"].includes(this.media.state) && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
    return this.media.state === "connected";
  }
}

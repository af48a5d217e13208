// SPDX-License-Identifier: Apache-2.0

/**
 * A slot is one receiving media section. The server binds it to one publication after another without any negotiation,
 * so the message that names the new publication races its media. The name therefore changes on the frame: the RTP
 * timestamp of the frame that is shown, or the CSRC (the publication's number) of what was played last, decides.
 */

/** Between two looks at a receiver (ms); later, when nothing has come for long. */
const LOOK_EVERY_MS = 40;
const LOOK_LATER_MS = 250;
const LOOK_OFTEN_FOR_MS = 2_000;
/** From then on the last picture of the publication before is no longer shown under its name (ms). */
const STALE_AFTER_MS = 1_000;
/** A browser that shows neither CSRC nor RTP timestamps is believed to play the new publication this long after its first packet left (ms). */
const BLIND_AFTER_MS = 300;

/**
 * @template Publication
 * @typedef {object} Binding
 * @property {Publication | null} publication
 * @property {boolean} shownElsewhere    another slot still plays it: nothing is gained by an empty picture
 * @property {number} number             its CSRC
 * @property {number} generation
 * @property {number | null} rtpTimestamp  of its first packet, once that has left the server
 */

/**
 * @typedef {object} Progress
 * @property {number} since              when it was bound (ms)
 * @property {number | null} leftAt      when its first packet was known to have left the server (ms)
 * @property {number} lastBefore         when the receiver last played something before (in its own time)
 * @property {boolean} sighted           played already, as far as the receiver knows, but the element has not told of it
 */

/**
 * @template Publication
 * @typedef {Binding<Publication> & Progress} Pending
 */

/** @template {object} Publication */
export class Slot {
  /** @type {RTCRtpTransceiver} */
  #transceiver;
  /** @type {(slot: Slot<Publication>, before: Publication | null) => void} */
  #onChange;
  /** @type {Publication | null} */
  #publication = null;
  /** @type {Pending<Publication> | null} */
  #pending = null;
  #generation = -1;
  #used = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {HTMLVideoElement | null} */
  #watched = null;
  #watching = false;

  /**
   * @param {RTCRtpTransceiver} transceiver
   * @param {(slot: Slot<Publication>, before: Publication | null) => void} onChange  the shown publication changed
   */
  constructor(transceiver, onChange) {
    this.#transceiver = transceiver;
    this.#onChange = onChange;
  }

  get mid() {
    return this.#transceiver.mid;
  }

  get kind() {
    return /** @type {"audio" | "video"} */ (this.track.kind);
  }

  get track() {
    return this.#transceiver.receiver.track;
  }

  /** The publication whose frames are played now. */
  get publication() {
    return this.#publication;
  }

  /**
   * Plays the slot in a media element; a video element also tells of each frame, which makes names change exactly.
   *
   * @param {HTMLMediaElement} element
   */
  show(element) {
    element.srcObject = new MediaStream([this.track]);
    if ("requestVideoFrameCallback" in element) {
      this.#watched = /** @type {HTMLVideoElement} */ (element);
      this.#look();
    }
  }

  /** @param {Binding<Publication>} binding what the server said */
  bind(binding) {
    if (binding.generation < this.#generation) return;
    const again = binding.generation === this.#generation && this.#pending !== null;
    this.#generation = binding.generation;
    const nothingToMistake = !this.#used && !binding.shownElsewhere;
    if (binding.publication === null || binding.publication === this.#publication || nothingToMistake) {
      this.#commit(binding.publication);
      return;
    }
    const leftAt = binding.rtpTimestamp === null ? null : performance.now();
    if (again && this.#pending) {
      this.#pending.rtpTimestamp = binding.rtpTimestamp ?? this.#pending.rtpTimestamp;
      this.#pending.leftAt ??= leftAt;
    } else {
      const lastBefore = newest(this.#contributing())?.timestamp ?? -Infinity;
      this.#pending = { ...binding, since: performance.now(), leftAt, lastBefore, sighted: false };
    }
    this.#look();
  }

  /** @param {Publication} publication it is gone: its last picture must not stay */
  forget(publication) {
    if (this.#pending?.publication === publication) this.#pending = null;
    if (this.#publication === publication) this.#change(null);
  }

  close() {
    this.#pending = null;
    this.#watched = null;
    clearTimeout(this.#timer);
    this.#change(null);
  }

  /** @param {number} [frameTimestamp] RTP timestamp of the frame that is about to be painted, where the browser tells it */
  #look(frameTimestamp) {
    clearTimeout(this.#timer);
    const pending = this.#pending;
    if (!pending) return;
    if (this.#arrived(pending, frameTimestamp)) {
      // A frame is delivered a moment before it is painted: an element that is seen gets the chance to tell of it.
      if (pending.sighted || frameTimestamp !== undefined || !this.#elementTells) {
        this.#commit(pending.publication);
        return;
      }
      pending.sighted = true;
    }
    const waited = performance.now() - pending.since;
    if (waited > STALE_AFTER_MS) this.#change(null);
    this.#watchFrames();
    this.#timer = setTimeout(() => this.#look(), waited < LOOK_OFTEN_FOR_MS ? LOOK_EVERY_MS : LOOK_LATER_MS);
  }

  get #elementTells() {
    return this.#watched !== null && this.#watched.isConnected && document.visibilityState === "visible";
  }

  #watchFrames() {
    if (!this.#watched || this.#watching) return;
    this.#watching = true;
    this.#watched.requestVideoFrameCallback((_now, metadata) => {
      this.#watching = false;
      this.#look(metadata.rtpTimestamp ?? undefined);
    });
  }

  /**
   * @param {Pending<Publication>} pending
   * @param {number} [frameTimestamp]
   * @returns {boolean} whether what is played now comes from the pending publication
   */
  #arrived(pending, frameTimestamp) {
    if (frameTimestamp !== undefined && pending.rtpTimestamp !== null) {
      return notBefore(frameTimestamp, pending.rtpTimestamp);
    }
    const contributing = newest(this.#contributing());
    if (contributing) {
      if (contributing.source !== pending.number || contributing.timestamp <= pending.lastBefore) return false;
      if (frameTimestamp === undefined || contributing.rtpTimestamp === undefined) return true;
      // Delivered is not yet shown: from here on the frame's own timestamp decides.
      pending.rtpTimestamp = contributing.rtpTimestamp;
      return notBefore(frameTimestamp, contributing.rtpTimestamp);
    }
    const source = newest(this.#transceiver.receiver.getSynchronizationSources?.() ?? []);
    if (source?.rtpTimestamp !== undefined && pending.rtpTimestamp !== null) {
      return notBefore(source.rtpTimestamp, pending.rtpTimestamp);
    }
    return source === undefined && pending.leftAt !== null && performance.now() - pending.leftAt > BLIND_AFTER_MS;
  }

  #contributing() {
    return this.#transceiver.receiver.getContributingSources?.() ?? [];
  }

  /** @param {Publication | null} publication */
  #commit(publication) {
    this.#pending = null;
    clearTimeout(this.#timer);
    if (publication) this.#used = true;
    this.#change(publication);
  }

  /** @param {Publication | null} publication */
  #change(publication) {
    const before = this.#publication;
    if (before === publication) return;
    this.#publication = publication;
    this.#onChange(this, before);
  }
}

/**
 * Sources stay listed for ten seconds after their last packet: the one played last is the current one.
 *
 * @template {{timestamp: number}} Source
 * @param {readonly Source[]} sources
 * @returns {Source | undefined}
 */
function newest(sources) {
  return sources.reduce((/** @type {Source | undefined} */ best, source) => (best && best.timestamp >= source.timestamp ? best : source), undefined);
}

/** @param {number} timestamp @param {number} reference @returns {boolean} in 32-bit RTP time, which wraps */
export function notBefore(timestamp, reference) {
  return ((timestamp - reference) >>> 0) < 0x8000_0000;
}

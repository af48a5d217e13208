// SPDX-License-Identifier: Apache-2.0

/** How often is looked (ms). */
const LOOK_EVERY_MS = 2000;
/** From this share of packets on that had to be sent again, pictures wait for them. */
const REPAIRED_SHARE = 0.02;
/** So long after the last look that saw so many (ms). */
const KEPT_FOR_MS = 30_000;
/** No picture waits longer (ms). */
const LONGEST_MS = 500;
/** What browsers take until they ask for a packet, and to put a frame together (ms). */
const SPARE_MS = 40;
/** Between two frames, where the rate is not known or very low (ms). */
const SLOWEST_FRAME_MS = 100;

/**
 * Lets pictures wait for packets that are sent again. On a link that loses, a repaired frame is a round trip late, and by itself a
 * browser that sends nothing does not know the round trip: each loss would be a short freeze.
 */
export class Patience {
  #pc;
  #timer;
  /** Packets and repaired packets at the last look, by mid. @type {Map<string, {received: number, repaired: number}>} */
  #last = new Map();
  /** Until when a receiver waits longer, by mid. @type {Map<string, number>} */
  #until = new Map();

  /** @param {RTCPeerConnection} pc */
  constructor(pc) {
    this.#pc = pc;
    this.#timer = setInterval(() => void this.#look(), LOOK_EVERY_MS);
  }

  close() {
    clearInterval(this.#timer);
  }

  async #look() {
    if (this.#pc.connectionState !== "connected") return;
    const report = await this.#pc.getStats();
    const roundTripMs = 1000 * roundTrip(report);
    for (const entry of report.values()) {
      if (entry.type !== "inbound-rtp" || entry.kind !== "video" || !entry.mid) continue;
      const now = { received: entry.packetsReceived ?? 0, repaired: entry.retransmittedPacketsReceived ?? 0 };
      const before = this.#last.get(entry.mid) ?? now;
      this.#last.set(entry.mid, now);
      if (now.repaired - before.repaired > REPAIRED_SHARE * (now.received - before.received)) {
        this.#until.set(entry.mid, performance.now() + KEPT_FOR_MS);
      }
      this.#wait(entry.mid, roundTripMs + 2 * frameMs(entry.framesPerSecond) + SPARE_MS);
    }
  }

  /** @param {string} mid @param {number} wantedMs */
  #wait(mid, wantedMs) {
    const until = this.#until.get(mid);
    if (until === undefined) return;
    const receiver = this.#pc.getTransceivers().find((one) => one.mid === mid)?.receiver;
    const over = performance.now() > until;
    if (over) this.#until.delete(mid);
    if (receiver && "jitterBufferTarget" in receiver) {
      receiver.jitterBufferTarget = over ? null : Math.min(LONGEST_MS, Math.round(wantedMs));
    }
  }
}

/** @param {RTCStatsReport} report @returns {number} seconds; 0 while it is not known */
function roundTrip(report) {
  for (const entry of report.values()) {
    if (entry.type === "candidate-pair" && entry.nominated && entry.currentRoundTripTime) return entry.currentRoundTripTime;
  }
  return 0;
}

/** @param {number | undefined} fps */
function frameMs(fps) {
  return fps ? Math.min(SLOWEST_FRAME_MS, 1000 / fps) : SLOWEST_FRAME_MS;
}

// SPDX-License-Identifier: Apache-2.0

/**
 * Readable figures from `RTCPeerConnection.getStats`: rates are taken between two readings.
 *
 * @typedef {object} InboundStatistics
 * @property {string} mid
 * @property {"audio" | "video"} kind
 * @property {string} codec
 * @property {number} width
 * @property {number} height
 * @property {number} fps
 * @property {number} bitrate_bps
 * @property {number} lossPercent      of the packets since the last reading
 * @property {number} packetsLost      since the start
 * @property {number} framesDecoded
 * @property {number} freezes
 * @property {number} jitterBufferMs   mean wait since the last reading
 *
 * @typedef {object} OutboundStatistics
 * @property {string} mid
 * @property {"audio" | "video"} kind
 * @property {string} codec
 * @property {string} rid
 * @property {number} width
 * @property {number} height
 * @property {number} fps
 * @property {number} bitrate_bps
 * @property {string} limitedBy
 */

/** Turns the reports of one room, read now and then, into figures. */
export class StatisticsReader {
  /** @type {Map<string, any>} */
  #last = new Map();

  /**
   * @param {RTCStatsReport} report
   * @returns {{inbound: Map<string, InboundStatistics>, outbound: OutboundStatistics[]}} inbound by mid, outbound lowest layer first
   */
  read(report) {
    /** @type {Map<string, InboundStatistics>} */
    const inbound = new Map();
    /** @type {OutboundStatistics[]} */
    const outbound = [];
    /** @type {Map<string, any>} */
    const seen = new Map();
    for (const entry of report.values()) {
      if (entry.type !== "inbound-rtp" && entry.type !== "outbound-rtp") continue;
      const before = this.#last.get(entry.id);
      seen.set(entry.id, entry);
      const codec = codecOf(report, entry);
      if (entry.type === "inbound-rtp") inbound.set(entry.mid, inboundFigures(entry, before, codec));
      else outbound.push(outboundFigures(entry, before, codec));
    }
    this.#last = seen;
    outbound.sort((a, b) => a.mid.localeCompare(b.mid) || a.width - b.width);
    return { inbound, outbound };
  }
}

/** @param {any} entry @param {any} before @param {string} codec @returns {InboundStatistics} */
function inboundFigures(entry, before, codec) {
  const lost = entry.packetsLost - (before?.packetsLost ?? 0);
  const received = entry.packetsReceived - (before?.packetsReceived ?? 0);
  const emitted = entry.jitterBufferEmittedCount - (before?.jitterBufferEmittedCount ?? 0);
  const waited = entry.jitterBufferDelay - (before?.jitterBufferDelay ?? 0);
  return {
    mid: entry.mid,
    kind: entry.kind,
    codec,
    width: entry.frameWidth ?? 0,
    height: entry.frameHeight ?? 0,
    fps: entry.framesPerSecond ?? rate(entry, before, "framesDecoded"),
    bitrate_bps: 8 * rate(entry, before, "bytesReceived"),
    lossPercent: lost > 0 ? (100 * lost) / (lost + received) : 0,
    packetsLost: entry.packetsLost ?? 0,
    framesDecoded: entry.framesDecoded ?? 0,
    freezes: entry.freezeCount ?? 0,
    jitterBufferMs: emitted > 0 ? (1000 * waited) / emitted : 0,
  };
}

/** @param {any} entry @param {any} before @param {string} codec @returns {OutboundStatistics} */
function outboundFigures(entry, before, codec) {
  return {
    mid: entry.mid ?? "",
    kind: entry.kind,
    codec,
    rid: entry.rid ?? "",
    width: entry.frameWidth ?? 0,
    height: entry.frameHeight ?? 0,
    fps: entry.framesPerSecond ?? rate(entry, before, "framesEncoded"),
    bitrate_bps: 8 * rate(entry, before, "bytesSent"),
    limitedBy: entry.qualityLimitationReason ?? "",
  };
}

/** @param {any} entry @param {any} before @param {string} field @returns {number} per second */
function rate(entry, before, field) {
  if (!before || entry[field] === undefined || entry.timestamp <= before.timestamp) return 0;
  return (1000 * (entry[field] - before[field])) / (entry.timestamp - before.timestamp);
}

/** @param {RTCStatsReport} report @param {any} entry */
function codecOf(report, entry) {
  const mime = /** @type {any} */ (report.get(entry.codecId ?? ""))?.mimeType ?? "";
  return mime.slice(mime.indexOf("/") + 1);
}

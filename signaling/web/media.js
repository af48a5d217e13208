// SPDX-License-Identifier: Apache-2.0

import { ENCRYPTABLE_CODECS } from "./e2ee.js";
import { fitLayers, orderCodecs, sendEncodings, sentLayers, videoLayers } from "./encodings.js";
import { Patience } from "./patience.js";
import { Slot } from "./slots.js";

/** Video slots, each with its companion audio slot; the pool grows in these steps. */
const POOL_STEPS = [4, 9, 16, 25];
/** Audio slots beyond the pairs, for the loudest of those without a picture. */
const EXTRA_AUDIO_SLOTS = 3;
/** What the server forwards. A browser offers those of them that it has. */
const VIDEO_CODECS = ["VP8", "H264", "VP9", "AV1"];
/** Of codecs that Chromium otherwise encodes without temporal layers, or whose simulcast it makes spatial layers of (VP9). */
const DEFAULT_MODES = /** @type {Record<string, string | undefined>} */ ({ VP9: "L1T3", AV1: "L1T3" });
/** What a codec goes back to that is sent without a mode of its own. */
const ONE_SPATIAL_LAYER = "L1T3";
const AUDIO_CODECS = ["opus"];

/** Describes layers to whoever cannot look into the payload. Chromium offers it of itself only where it sends several. */
const DEPENDENCY_DESCRIPTOR = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";

/** @typedef {import("./roster.js").Publication} Publication */
/** @typedef {import("./encodings.js").Layer} Layer */

/**
 * @typedef {"camera" | "microphone" | "screen_share" | "screen_share_audio"} Source
 *
 * @typedef {object} PublishOptions
 * @property {Source} [source]      default: camera for video, microphone for audio
 * @property {string} [name]
 * @property {boolean} [muted]
 * @property {boolean} [simulcast]  default true
 * @property {number} [layers]      at most that many simulcast layers
 * @property {"VP8" | "H264" | "VP9" | "AV1"} [codec]  of video, if the server allows it; default: the first that everybody can receive
 * @property {string} [scalabilityMode]  of each stream, such as "L3T3_KEY" (VP9 and AV1); several spatial layers replace simulcast
 *
 * @typedef {{mid: string, source: Source, name?: string, muted: boolean, layers?: object[], backup_of?: string}} OfferedTrack
 */

/**
 * @typedef {object} MediaHandlers
 * @property {(slot: Slot<Publication>) => void} onSlot  a slot was added to the pool
 * @property {(slot: Slot<Publication>, before: Publication | null) => void} onSlotChange
 * @property {(media: MediaConnection) => void} onState  another `state`
 * @property {import("./e2ee.js").Encryption | null} encryption
 * @property {(slot: Slot<Publication>) => void} onUndecryptable  what comes is encrypted with another key, or not at all
 */

/**
 * What the server said of publishing when we joined.
 *
 * @typedef {object} PublishRules
 * @property {string[]} [video_codecs]  what everybody in the room can receive, the preferred first
 * @property {string[]} [allowed_video_codecs]
 * @property {Partial<Record<Source, number>>} [max_bitrate_bps]  of all layers of one publication and its backup
 *
 * @typedef {object} Sending
 * @property {RTCRtpTransceiver} transceiver
 * @property {Layer[] | undefined} layers
 * @property {Map<string, boolean>} wanted  by rid: whether somebody receives it; what the server has not spoken of is wanted
 * @property {Promise<void>} settled
 */

/** What we publish. It outlives the connection that sends it; `id` and `number` are null until the server has accepted it. */
export class LocalPublication {
  /** @type {string | null} */
  id = null;
  /** @type {number | null} */
  number = null;

  /** @param {MediaStreamTrack} track @param {PublishOptions} options */
  constructor(track, options) {
    this.track = track;
    this.kind = /** @type {"audio" | "video"} */ (track.kind);
    this.source = options.source ?? (track.kind === "audio" ? "microphone" : "camera");
    this.options = options;
    this.muted = options.muted ?? false;
  }
}

/**
 * One PeerConnection: what is sent, and the pool of slots. A room may put another in its place (make before break): it
 * holds nothing that outlives it.
 */
export class MediaConnection {
  #pc;
  /** @type {Map<LocalPublication, Sending>} */
  #senders = new Map();
  /** The same tracks in another codec, for who cannot decode the first. @type {Map<LocalPublication, Sending>} */
  #backups = new Map();
  /** @type {Slot<Publication>[]} */
  #slots = [];
  #handlers;
  #rules;
  #patience;

  /** @param {MediaHandlers} handlers @param {PublishRules} rules */
  constructor(handlers, rules) {
    this.#handlers = handlers;
    this.#rules = rules;
    const configuration = { ...handlers.encryption?.configuration, bundlePolicy: "max-bundle", rtcpMuxPolicy: "require" };
    this.#pc = new RTCPeerConnection(/** @type {RTCConfiguration} */ (configuration));
    this.#pc.onconnectionstatechange = () => handlers.onState(this);
    this.#patience = new Patience(this.#pc);
  }

  get state() {
    return this.#pc.connectionState;
  }

  get #receivedCodecs() {
    return this.#handlers.encryption ? ENCRYPTABLE_CODECS : VIDEO_CODECS;
  }

  /** To send: what this browser encodes and the server allows, the preferred first. */
  get videoCodecs() {
    const { video_codecs: common = VIDEO_CODECS, allowed_video_codecs: allowed = common } = this.#rules;
    const known = (RTCRtpSender.getCapabilities("video")?.codecs ?? []).map(({ mimeType }) => mimeType.slice("video/".length).toUpperCase());
    return [...new Set([...common, ...allowed])].filter((name) => this.#receivedCodecs.includes(name) && known.includes(name));
  }

  get slots() {
    return /** @type {readonly Slot<Publication>[]} */ (this.#slots);
  }

  /** @param {RTCIceServer[] | undefined} iceServers */
  setIceServers(iceServers) {
    if (iceServers?.length) this.#pc.setConfiguration({ ...this.#pc.getConfiguration(), iceServers });
  }

  /** @param {LocalPublication} local */
  add(local) {
    this.#senders.set(local, this.#addSender(local, local.options, this.#limitOf(local)));
    if (local.muted) void this.replaceTrack(local);
  }

  /**
   * Takes effect with the next offer.
   *
   * @param {LocalPublication} local
   * @param {PublishOptions["codec"]} codec
   * @returns {boolean} whether there was none yet
   */
  addBackup(local, codec) {
    if (local.kind !== "video" || !this.#senders.has(local) || this.#backups.has(local)) return false;
    const options = { ...local.options, codec, scalabilityMode: undefined };
    this.#backups.set(local, this.#addSender(local, options, this.#limitOf(local) / 2));
    this.#adjust(local);
    if (local.muted) void this.replaceTrack(local);
    return true;
  }

  /**
   * Sends it in another codec from the next offer on.
   *
   * @param {LocalPublication} local
   * @param {PublishOptions["codec"]} codec
   */
  async setCodec(local, codec) {
    const sending = this.#senders.get(local);
    if (!sending || local.kind !== "video") return;
    const wanted = this.#sentCodecs(codec);
    setCodecs(sending.transceiver, RTCRtpSender.getCapabilities("video")?.codecs ?? [], wanted);
    const mode = DEFAULT_MODES[wanted[0] ?? ""] ?? ONE_SPATIAL_LAYER;
    await this.#change(sending, (encoding) => void ("scalabilityMode" in encoding && Object.assign(encoding, { scalabilityMode: mode })));
  }

  /**
   * In their order. Where nothing of what we encode is allowed, the server says so.
   *
   * @param {PublishOptions["codec"]} first  if it is allowed
   */
  #sentCodecs(first) {
    const names = this.videoCodecs.length > 0 ? this.videoCodecs : this.#receivedCodecs;
    return first && names.includes(first) ? [first, ...names.filter((name) => name !== first)] : names;
  }

  /** Bits per second. @param {LocalPublication} local */
  #limitOf({ source }) {
    return this.#rules.max_bitrate_bps?.[source] ?? Infinity;
  }

  /** @param {LocalPublication} local @param {PublishOptions} options @param {number} limit @returns {Sending} */
  #addSender({ track }, options, limit) {
    const codecs = track.kind === "audio" ? AUDIO_CODECS : this.#sentCodecs(options.codec);
    const itsMode = !options.codec || codecs[0] === options.codec ? options.scalabilityMode : undefined;
    const mode = itsMode ?? DEFAULT_MODES[codecs[0] ?? ""];
    const possible = track.kind === "video" ? videoLayers(track.getSettings(), { ...options, scalabilityMode: mode }) : undefined;
    const layers = possible && sentLayers(fitLayers(possible, limit));
    const transceiver = this.#pc.addTransceiver(track, {
      direction: "sendonly",
      streams: [new MediaStream([track])],
      ...(layers ? { sendEncodings: sendEncodings(layers, mode) } : {}),
    });
    this.#handlers.encryption?.protect(transceiver.sender);
    setCodecs(transceiver, RTCRtpSender.getCapabilities(track.kind)?.codecs ?? [], codecs);
    if (track.kind === "video") offerExtension(transceiver, DEPENDENCY_DESCRIPTOR);
    return { transceiver, layers, wanted: new Map(), settled: Promise.resolve() };
  }

  /** @param {LocalPublication} local the section stays, without direction, until the connection ends */
  async remove(local) {
    for (const sending of [this.#senders, this.#backups]) {
      const transceiver = sending.get(local)?.transceiver;
      if (!transceiver) continue;
      sending.delete(local);
      transceiver.direction = "inactive";
      await transceiver.sender.replaceTrack(null);
    }
  }

  /**
   * Sends the track that `local` has now: nothing for a muted picture; muted sound goes on as silence, which keeps its clock.
   *
   * @param {LocalPublication} local
   */
  async replaceTrack(local) {
    const { track, muted } = local;
    for (const sending of [this.#senders, this.#backups]) {
      await sending.get(local)?.transceiver.sender.replaceTrack(muted && track.kind === "video" ? null : track);
    }
  }

  /**
   * Sends those of its encodings that somebody receives.
   *
   * @param {LocalPublication} local
   * @param {readonly {rid: string, active: boolean}[]} layers
   * @param {boolean} [backup]  of its backup
   */
  setActive(local, layers, backup = false) {
    const found = (backup ? this.#backups : this.#senders).get(local);
    if (!found) return;
    for (const { rid, active } of layers) found.wanted.set(rid, active);
    this.#adjust(local);
  }

  /**
   * To what is received, and to the limit: while both a track and its backup are received, each has half of it.
   *
   * @param {LocalPublication} local
   */
  #adjust(local) {
    const all = [this.#senders.get(local), this.#backups.get(local)].filter((one) => one !== undefined);
    const received = all.filter(({ layers, wanted }) => layers?.some(({ rid }) => wanted.get(rid) ?? true));
    const limit = this.#limitOf(local) / Math.max(1, received.length);
    for (const sending of all) {
      const fitted = fitLayers(sending.layers ?? [], limit);
      void this.#change(sending, (encoding, _, { length }) => {
        const own = length > 1 ? fitted.filter(({ rid }) => rid === encoding.rid) : fitted;
        const rate = own.reduce((sum, layer) => sum + layer.max_bitrate_bps, 0);
        encoding.active = rate > 0 && (sending.wanted.get(encoding.rid ?? "") ?? true);
        if (rate > 0) encoding.maxBitrate = rate;
      });
    }
  }

  /**
   * One change after the other: parameters are void once others have been set.
   *
   * @param {Sending} sending
   * @param {(encoding: RTCRtpEncodingParameters, index: number, all: RTCRtpEncodingParameters[]) => void} change
   */
  #change(sending, change) {
    sending.settled = sending.settled.then(async () => {
      const { sender } = sending.transceiver;
      const parameters = sender.getParameters();
      (parameters.encodings ?? []).forEach(change);
      await sender.setParameters(parameters).catch(() => {}); // the connection is closed, or about to be
    });
    return sending.settled;
  }

  /**
   * Makes the pool large enough; a larger one takes effect with the next offer.
   *
   * @param {number} pictures  video publications of others
   * @returns {boolean} whether it grew
   */
  reserve(pictures) {
    const has = this.#slots.filter((slot) => slot.kind === "video").length;
    const wants = POOL_STEPS.find((step) => step >= pictures) ?? /** @type {number} */ (POOL_STEPS.at(-1));
    if (wants <= has) return false;
    const added = wants - has;
    for (let k = 0; k < added; k++) this.#addSlot("video");
    for (let k = 0; k < added + (has === 0 ? EXTRA_AUDIO_SLOTS : 0); k++) this.#addSlot("audio");
    return true;
  }

  /** @returns {Promise<{sdp: string, tracks: OfferedTrack[]}>} complete: the server needs no candidates of ours */
  async createOffer() {
    await this.#pc.setLocalDescription(await this.#pc.createOffer());
    const tracks = [...this.#senders].map(([local, { transceiver, layers }]) => describe(local, transceiver, layers));
    for (const [local, { transceiver, layers }] of this.#backups) {
      if (local.id) tracks.push({ ...describe(local, transceiver, layers), backup_of: local.id });
    }
    return { sdp: /** @type {RTCSessionDescription} */ (this.#pc.localDescription).sdp, tracks };
  }

  /** @param {string} sdp */
  async applyAnswer(sdp) {
    await this.#pc.setRemoteDescription({ type: "answer", sdp });
  }

  async takeBackOffer() {
    if (this.#pc.signalingState === "have-local-offer") await this.#pc.setLocalDescription({ type: "rollback" });
  }

  /** @param {string} mid @returns {LocalPublication | undefined} */
  publicationAt(mid) {
    for (const [local, { transceiver }] of this.#senders) if (transceiver.mid === mid) return local;
    return undefined;
  }

  /** @param {string} mid */
  slotAt(mid) {
    return this.#slots.find((slot) => slot.mid === mid);
  }

  getStats() {
    return this.#pc.getStats();
  }

  close() {
    this.#patience.close();
    this.#pc.onconnectionstatechange = null;
    for (const slot of this.#slots) slot.close();
    this.#pc.close();
  }

  /** @param {"audio" | "video"} kind */
  #addSlot(kind) {
    const transceiver = this.#pc.addTransceiver(kind, { direction: "recvonly" });
    setCodecs(transceiver, RTCRtpReceiver.getCapabilities(kind)?.codecs ?? [], kind === "audio" ? AUDIO_CODECS : this.#receivedCodecs);
    if (kind === "video") offerExtension(transceiver, DEPENDENCY_DESCRIPTOR);
    const slot = new Slot(transceiver, this.#handlers.onSlotChange);
    this.#handlers.encryption?.open(transceiver.receiver, () => this.#handlers.onUndecryptable(slot));
    this.#slots.push(slot);
    this.#handlers.onSlot(slot);
  }
}

/**
 * @param {LocalPublication} local
 * @param {RTCRtpTransceiver} transceiver
 * @param {Layer[] | undefined} layers
 * @returns {OfferedTrack}
 */
function describe({ source, muted, options }, transceiver, layers) {
  return {
    mid: /** @type {string} */ (transceiver.mid),
    source,
    muted,
    ...(options.name ? { name: options.name } : {}),
    ...(layers ? { layers: layers.map(({ scale, ...layer }) => layer) } : {}),
  };
}

/**
 * @param {RTCRtpTransceiver} transceiver
 * @param {RTCRtpCodec[]} known
 * @param {string[]} wanted
 */
function setCodecs(transceiver, known, wanted) {
  const codecs = orderCodecs(known, wanted);
  if (codecs.length > 0) transceiver.setCodecPreferences?.(codecs);
}

/**
 * Where the browser has a say in header extensions (Chromium).
 *
 * @param {RTCRtpTransceiver} transceiver
 * @param {string} uri
 */
function offerExtension(transceiver, uri) {
  const negotiable = /** @type {{getHeaderExtensionsToNegotiate?: () => {uri: string, direction: string}[],
    setHeaderExtensionsToNegotiate?: (all: {uri: string, direction: string}[]) => void}} */ (/** @type {unknown} */ (transceiver));
  const known = negotiable.getHeaderExtensionsToNegotiate?.();
  if (!known?.some((extension) => extension.uri === uri)) return;
  negotiable.setHeaderExtensionsToNegotiate?.(
    known.map((extension) => (extension.uri === uri ? { ...extension, direction: "sendrecv" } : extension)),
  );
}

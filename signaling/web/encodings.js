// SPDX-License-Identifier: Apache-2.0

/** What a published track is sent as: simulcast layers and the order of codecs. Pure functions, no browser state. */

/**
 * One simulcast layer. `rid` is "" where there is only one: browsers leave the rid out then.
 *
 * @typedef {{rid: string, scale: number, width: number, height: number, max_bitrate_bps: number, max_fps: number}} Layer
 *
 * @typedef {{width?: number, height?: number, frameRate?: number}} Capture  the settings of a MediaStreamTrack
 */

/** Capture area (pixels) from which libwebrtc encodes three and two layers (simulcast.cc, kSimulcastFormats). */
const THREE_LAYERS_FROM = 960 * 540;
const TWO_LAYERS_FROM = 480 * 270;

/** Highest first: [pixels, bits per second], libwebrtc's maximum for VP8 at that size (simulcast.cc). */
const BITRATE_BY_AREA = /** @type {const} */ ([
  [1920 * 1080, 5_000_000],
  [1280 * 720, 2_500_000],
  [960 * 540, 1_200_000],
  [640 * 360, 700_000],
  [480 * 270, 450_000],
  [320 * 180, 200_000],
  [0, 100_000],
]);

/** Below this part of its maximum libwebrtc sends nothing of a simulcast layer (simulcast.cc: a seventh to a quarter). */
const LEAST_SHARE = 0.25;

const RIDS = ["q", "h", "f"];
const SCALES = [4, 2, 1];
const DEFAULT_FRAME_RATE = 30;

/** The profile of each codec that every browser with that codec has: H.264 Constrained Baseline, VP9 profile 0, AV1 Main. */
const COMMON_PROFILE = /profile-level-id=42e0|profile-id=0|profile=0/i;

/** @param {number} pixels @returns {number} bits per second, interpolated between the sizes of the table */
export function maxBitrate(pixels) {
  let [areaAbove, rateAbove] = /** @type {readonly [number, number]} */ (BITRATE_BY_AREA[0]);
  for (const [area, rate] of BITRATE_BY_AREA) {
    if (pixels >= area) {
      if (areaAbove === area) return rate;
      return Math.round(rate + ((rateAbove - rate) * (pixels - area)) / (areaAbove - area));
    }
    [areaAbove, rateAbove] = [area, rate];
  }
  return rateAbove;
}

/**
 * What a scalability mode (W3C WebRTC-SVC) says of spatial layers.
 *
 * @param {string | undefined} mode  such as "L3T3_KEY"
 * @returns {{spatial: number, ratio: number}}  how many lie in one stream, and how much wider each is than the one below
 */
export function scalability(mode) {
  const found = /^[LS]([1-3])T[1-3](h?)(_KEY(_SHIFT)?)?$/.exec(mode ?? "");
  return { spatial: Number(found?.[1] ?? 1), ratio: found?.[2] ? 1.5 : 2 };
}

/**
 * Layers for a camera or a screen, lowest first: of simulcast, or the spatial layers of one stream (all without rid).
 *
 * @param {Capture} capture
 * @param {{simulcast?: boolean, layers?: number, scalabilityMode?: string}} [options]  `layers`: at most that many
 * @returns {Layer[]}
 */
export function videoLayers(capture, { simulcast = true, layers = 3, scalabilityMode } = {}) {
  const width = capture.width ?? 640;
  const height = capture.height ?? 360;
  const pixels = width * height;
  const { spatial, ratio } = scalability(scalabilityMode);
  const possible = pixels >= THREE_LAYERS_FROM ? 3 : pixels >= TWO_LAYERS_FROM ? 2 : 1;
  const count = spatial > 1 ? spatial : simulcast ? Math.max(1, Math.min(possible, layers)) : 1;
  const scales = spatial > 1 ? Array.from({ length: count }, (_, index) => ratio ** (count - 1 - index)) : SCALES;
  return scales.slice(scales.length - count).map((scale, index) => ({
    rid: count === 1 || spatial > 1 ? "" : /** @type {string} */ (RIDS[RIDS.length - count + index]),
    scale,
    width: Math.floor(width / scale),
    height: Math.floor(height / scale),
    max_bitrate_bps: maxBitrate(pixels / (scale * scale)),
    max_fps: Math.round(capture.frameRate ?? DEFAULT_FRAME_RATE),
  }));
}

/**
 * Layers that together send no more than a limit: the lower ones keep their rate, the upper ones give way. A layer for which
 * not enough is left has rate 0. The spatial layers of one stream all give way alike, as its encoder divides among them.
 *
 * @param {readonly Layer[]} layers
 * @param {number} limit  bits per second
 * @returns {Layer[]}
 */
export function fitLayers(layers, limit) {
  const total = layers.reduce((sum, layer) => sum + layer.max_bitrate_bps, 0);
  if (total <= limit) return [...layers];
  const inOneStream = layers.length > 1 && layers.every((layer) => layer.rid === "");
  let left = limit;
  return layers.map((layer, index) => {
    const most = layer.max_bitrate_bps;
    if (inOneStream) return { ...layer, max_bitrate_bps: Math.floor((most * limit) / total) };
    const rate = Math.min(most, Math.floor(left));
    const kept = index === 0 || rate >= most * LEAST_SHARE ? rate : 0;
    left -= kept;
    return { ...layer, max_bitrate_bps: kept };
  });
}

/** Without those for which the limit leaves nothing. @param {Layer[]} layers @returns {Layer[]} */
export function sentLayers(layers) {
  const sent = layers.filter((layer) => layer.max_bitrate_bps > 0);
  return sent.length === 1 ? sent.map((layer) => ({ ...layer, rid: "" })) : sent;
}

/**
 * @param {Layer[]} layers
 * @param {string} [scalabilityMode]
 * @returns {RTCRtpEncodingParameters[]}
 */
export function sendEncodings(layers, scalabilityMode) {
  const mode = scalabilityMode ? { scalabilityMode } : {};
  if (scalability(scalabilityMode).spatial > 1) {
    return [{ active: true, maxBitrate: layers.reduce((sum, layer) => sum + layer.max_bitrate_bps, 0), ...mode }];
  }
  return layers.map((layer) => ({
    ...(layer.rid ? { rid: layer.rid } : {}),
    active: true,
    maxBitrate: layer.max_bitrate_bps,
    scaleResolutionDownBy: layer.scale,
    ...mode,
  }));
}

/**
 * Codecs for `setCodecPreferences`: only those that the server speaks, the preferred one first, one profile of each, H.264
 * in its two packetization modes. An offer with 49 video sections is 247 kB with all that a browser knows, and 99 kB with few.
 *
 * @template {{mimeType: string, sdpFmtpLine?: string}} Codec
 * @param {readonly Codec[]} known      what the browser knows (`RTCRtpReceiver.getCapabilities(kind).codecs`)
 * @param {readonly string[]} wanted    names, the preferred first, such as ["VP8", "H264"]
 * @returns {Codec[]}
 */
export function orderCodecs(known, wanted) {
  /** @type {Codec[]} */
  const chosen = [];
  for (const name of wanted) {
    const matching = known.filter((codec) => codecName(codec) === name.toUpperCase());
    const common = matching.filter((codec) => COMMON_PROFILE.test(codec.sdpFmtpLine ?? ""));
    const candidates = common.length > 0 ? common : matching;
    chosen.push(...candidates.sort((a, b) => packetizationMode(b) - packetizationMode(a)));
  }
  if (chosen.length > 0) chosen.push(...known.filter((codec) => codecName(codec) === "RTX"));
  return chosen;
}

/** @param {{mimeType: string}} codec */
function codecName(codec) {
  return codec.mimeType.slice(codec.mimeType.indexOf("/") + 1).toUpperCase();
}

/** @param {{sdpFmtpLine?: string}} codec */
function packetizationMode(codec) {
  return Number(/packetization-mode=(\d)/.exec(codec.sdpFmtpLine ?? "")?.[1] ?? 0);
}

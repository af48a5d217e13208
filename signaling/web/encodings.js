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

const RIDS = ["q", "h", "f"];
const SCALES = [4, 2, 1];
const DEFAULT_FRAME_RATE = 30;

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
 * Layers for a camera or a screen, lowest first.
 *
 * @param {Capture} capture
 * @param {{simulcast?: boolean, layers?: number}} [options]  `layers`: at most that many
 * @returns {Layer[]}
 */
export function videoLayers(capture, { simulcast = true, layers = 3 } = {}) {
  const width = capture.width ?? 640;
  const height = capture.height ?? 360;
  const pixels = width * height;
  const possible = pixels >= THREE_LAYERS_FROM ? 3 : pixels >= TWO_LAYERS_FROM ? 2 : 1;
  const count = simulcast ? Math.max(1, Math.min(possible, layers)) : 1;
  return SCALES.slice(SCALES.length - count).map((scale, index) => ({
    rid: count === 1 ? "" : /** @type {string} */ (RIDS[RIDS.length - count + index]),
    scale,
    width: Math.floor(width / scale),
    height: Math.floor(height / scale),
    max_bitrate_bps: maxBitrate(pixels / (scale * scale)),
    max_fps: Math.round(capture.frameRate ?? DEFAULT_FRAME_RATE),
  }));
}

/**
 * @param {Layer[]} layers
 * @returns {RTCRtpEncodingParameters[]}
 */
export function sendEncodings(layers) {
  return layers.map((layer) => ({
    ...(layer.rid ? { rid: layer.rid } : {}),
    active: true,
    maxBitrate: layer.max_bitrate_bps,
    scaleResolutionDownBy: layer.scale,
  }));
}

/**
 * Codecs for `setCodecPreferences`: only those that the server speaks, the preferred one first, one H.264 profile in its
 * two packetization modes. An offer with 49 video sections is 247 kB with all that a browser knows, and 99 kB with few.
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
    const baseline = matching.filter((codec) => /profile-level-id=42e0/i.test(codec.sdpFmtpLine ?? ""));
    const candidates = baseline.length > 0 ? baseline : matching;
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

// SPDX-License-Identifier: Apache-2.0

/**
 * @typedef {object} CaptureWish
 * @property {boolean} audio
 * @property {boolean} video
 * @property {number} [width]
 * @property {number} [height]
 * @property {number} [fps]
 */

const DEFAULT_WIDTH = 1280;
const DEFAULT_HEIGHT = 720;
const DEFAULT_FPS = 30;

/**
 * Opens camera and microphone; what cannot be had is left out and explained, never an error.
 *
 * @param {CaptureWish} wish
 * @returns {Promise<{tracks: MediaStreamTrack[], problems: string[]}>}
 */
export async function capture(wish) {
  /** @type {MediaStreamTrack[]} */
  const tracks = [];
  /** @type {string[]} */
  const problems = [];
  if (!wish.audio && !wish.video) return { tracks, problems };
  if (!navigator.mediaDevices?.getUserMedia) {
    problems.push("This page has no access to camera and microphone: browsers allow it on https and on localhost only. You can watch and listen.");
    return { tracks, problems };
  }
  const audio = wish.audio ? { echoCancellation: true, noiseSuppression: true, autoGainControl: true } : false;
  const video = wish.video ? videoConstraints(wish) : false;
  try {
    tracks.push(...(await navigator.mediaDevices.getUserMedia({ audio, video })).getTracks());
    return { tracks, problems };
  } catch (error) {
    if (!audio || !video) problems.push(explain(error, audio ? "microphone" : "camera"));
  }
  if (audio && video) await captureApart(audio, video, tracks, problems);
  return { tracks, problems };
}

/**
 * One device that is missing or taken must not cost the other.
 *
 * @param {MediaTrackConstraints} audio
 * @param {MediaTrackConstraints} video
 * @param {MediaStreamTrack[]} tracks
 * @param {string[]} problems
 */
async function captureApart(audio, video, tracks, problems) {
  for (const [what, constraints] of /** @type {const} */ ([["microphone", { audio }], ["camera", { video }]])) {
    try {
      tracks.push(...(await navigator.mediaDevices.getUserMedia(constraints)).getTracks());
    } catch (error) {
      problems.push(explain(error, what));
    }
  }
}

/** @param {CaptureWish} wish @returns {MediaTrackConstraints} */
function videoConstraints({ width, height, fps }) {
  return {
    width: { ideal: width ?? DEFAULT_WIDTH },
    height: { ideal: height ?? DEFAULT_HEIGHT },
    frameRate: fps ? { ideal: fps, max: fps } : { ideal: DEFAULT_FPS },
  };
}

/** @param {unknown} error @param {"camera" | "microphone"} what @returns {string} */
function explain(error, what) {
  const name = error instanceof DOMException || error instanceof Error ? error.name : "";
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
      return `The ${what} is blocked. Allow it in the browser's address bar and join again; until then the others do not get yours.`;
    case "NotFoundError":
    case "OverconstrainedError":
      return `No ${what} was found. Plug one in and join again; until then the others do not get yours.`;
    case "NotReadableError":
    case "AbortError":
      return `The ${what} cannot be opened: another program may be using it. Close that and join again.`;
    default:
      return `The ${what} cannot be opened (${name || String(error)}).`;
  }
}

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
  /** @type {Partial<Record<Device, MediaTrackConstraints>>} */
  const wanted = {};
  if (wish.audio) wanted.microphone = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
  if (wish.video) wanted.camera = videoConstraints(wish);
  try {
    tracks.push(...(await open(wanted)));
  } catch (error) {
    const devices = /** @type {Device[]} */ (Object.keys(wanted));
    const apart = devices.length > 1 ? await worthAskingApart(devices, error) : [];
    if (apart.length === 0) problems.push(explain(error, devices.join(" and ")));
    else await captureApart(wanted, tracks, problems);
  }
  return { tracks, problems };
}

/** @typedef {"microphone" | "camera"} Device */

/** @param {Partial<Record<Device, MediaTrackConstraints>>} wanted @returns {Promise<MediaStreamTrack[]>} */
async function open({ microphone, camera }) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: microphone ?? false, video: camera ?? false });
  return stream.getTracks();
}

/**
 * One device that is missing, taken or blocked must not cost the other. But who has just said no to both is not asked again.
 *
 * @param {Device[]} devices
 * @param {unknown} error
 * @returns {Promise<Device[]>} those that may still be had
 */
async function worthAskingApart(devices, error) {
  if (/** @type {{name?: string}} */ (error).name !== "NotAllowedError") return devices;
  const states = await Promise.all(devices.map(permissionOf));
  return states.includes("denied") ? devices.filter((_, index) => states[index] !== "denied") : [];
}

/** @param {Device} device @returns {Promise<string>} */
async function permissionOf(device) {
  try {
    return (await navigator.permissions.query({ name: /** @type {PermissionName} */ (device) })).state;
  } catch {
    return "unknown";
  }
}

/**
 * @param {Partial<Record<Device, MediaTrackConstraints>>} wanted
 * @param {MediaStreamTrack[]} tracks
 * @param {string[]} problems
 */
async function captureApart(wanted, tracks, problems) {
  for (const [device, constraints] of Object.entries(wanted)) {
    try {
      tracks.push(...(await open({ [device]: constraints })));
    } catch (error) {
      problems.push(explain(error, device));
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

/** @param {unknown} error @param {string} what "camera", "microphone", or both @returns {string} */
function explain(error, what) {
  const { name = String(error) } = /** @type {{name?: string}} */ (error ?? {});
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
      return `Blocked: ${what}. Allow it in the browser's address bar, then press its button below. Until then you can watch and listen.`;
    case "NotFoundError":
    case "OverconstrainedError":
      return `Not found: ${what}. Plug one in, then press its button below. Until then you can watch and listen.`;
    case "NotReadableError":
    case "AbortError":
      return `Cannot be opened: ${what}. Another program may be using it: close that, then press its button below.`;
    default:
      return `Cannot be opened: ${what} (${name}).`;
  }
}

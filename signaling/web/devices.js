// SPDX-License-Identifier: Apache-2.0

/**
 * @typedef {"microphone" | "camera"} Device
 * @typedef {{devices: Device[], words: string}} Problem  what cannot be had, and why
 *
 * @typedef {object} CaptureWish
 * @property {boolean} audio
 * @property {boolean} video
 * @property {string} [microphone]  id of the one that was chosen; default: the browser's choice
 * @property {string} [camera]
 * @property {number} [width]
 * @property {number} [height]
 * @property {number} [fps]
 */

const DEFAULT_WIDTH = 1280;
const DEFAULT_HEIGHT = 720;
const DEFAULT_FPS = 30;

const NOT_SECURE =
  "Browsers give camera and microphone only to https pages and to localhost, and this page is neither. " +
  "Start the server with --tls self and open the https address that it prints; or, on the server’s own machine, open localhost. " +
  "Until then you can watch and listen.";

/** @returns {string | null} why this page can have no device at all */
export function noDevicesBecause() {
  return navigator.mediaDevices?.getUserMedia ? null : NOT_SECURE;
}

/** Fills lists to choose from: browsers name devices only after one was allowed. @param {Record<Device, HTMLSelectElement>} selects */
export async function fillChoices(selects) {
  const all = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
  for (const [device, kind] of /** @type {const} */ ([["camera", "videoinput"], ["microphone", "audioinput"]])) {
    const found = all.filter((one) => one.kind === kind && one.deviceId);
    const select = selects[device];
    const before = select.value;
    const options = found.map(({ label, deviceId }, index) => new Option(label || `${device} ${index + 1}`, deviceId));
    select.replaceChildren(...(options.length > 0 ? options : [new Option(`Default ${device}`, "")]));
    if (found.some(({ deviceId }) => deviceId === before)) select.value = before;
  }
}

/**
 * Opens camera and microphone; what cannot be had is left out and explained, never an error.
 *
 * @param {CaptureWish} wish
 * @returns {Promise<{tracks: MediaStreamTrack[], problems: Problem[]}>}
 */
export async function capture(wish) {
  /** @type {MediaStreamTrack[]} */
  const tracks = [];
  /** @type {Problem[]} */
  const problems = [];
  if (!wish.audio && !wish.video) return { tracks, problems };
  const impossible = noDevicesBecause();
  if (impossible) return { tracks, problems: [{ devices: [], words: impossible }] };
  /** @type {Partial<Record<Device, MediaTrackConstraints>>} */
  const wanted = {};
  if (wish.audio) wanted.microphone = { ...exactly(wish.microphone), echoCancellation: true, noiseSuppression: true, autoGainControl: true };
  if (wish.video) wanted.camera = videoConstraints(wish);
  try {
    tracks.push(...(await open(wanted)));
  } catch (error) {
    const devices = /** @type {Device[]} */ (Object.keys(wanted));
    const apart = devices.length > 1 ? await worthAskingApart(devices, error) : [];
    if (apart.length === 0) problems.push({ devices, words: explain(error, devices.join(" and ")) });
    else await captureApart(wanted, tracks, problems);
  }
  return { tracks, problems };
}

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
  if (nameOf(error) !== "NotAllowedError") return devices;
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
 * Devices that fail for one reason are one problem.
 *
 * @param {Partial<Record<Device, MediaTrackConstraints>>} wanted
 * @param {MediaStreamTrack[]} tracks
 * @param {Problem[]} problems
 */
async function captureApart(wanted, tracks, problems) {
  /** @type {Map<string, {devices: Device[], error: unknown}>} */
  const failures = new Map();
  for (const device of /** @type {Device[]} */ (Object.keys(wanted))) {
    try {
      tracks.push(...(await open({ [device]: wanted[device] })));
    } catch (error) {
      const name = nameOf(error);
      failures.set(name, { devices: [...(failures.get(name)?.devices ?? []), device], error });
    }
  }
  for (const { devices, error } of failures.values()) problems.push({ devices, words: explain(error, devices.join(" and ")) });
}

/** @param {string | undefined} deviceId @returns {MediaTrackConstraints} */
function exactly(deviceId) {
  return deviceId ? { deviceId: { exact: deviceId } } : {};
}

/** @param {CaptureWish} wish @returns {MediaTrackConstraints} */
function videoConstraints({ camera, width, height, fps }) {
  return {
    ...exactly(camera),
    width: { ideal: width ?? DEFAULT_WIDTH },
    height: { ideal: height ?? DEFAULT_HEIGHT },
    frameRate: fps ? { ideal: fps, max: fps } : { ideal: DEFAULT_FPS },
  };
}

/** @param {unknown} error @returns {string} */
function nameOf(error) {
  return /** @type {{name?: string}} */ (error ?? {}).name ?? String(error);
}

/** @param {unknown} error @param {string} what "camera", "microphone", or both @returns {string} */
function explain(error, what) {
  const name = nameOf(error);
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
      return `Blocked: ${what}. Allow it by the sign in the browser’s address bar, then try again. Until then you can watch and listen.`;
    case "NotFoundError":
    case "OverconstrainedError":
      return `Not found: ${what}. Plug one in, then try again. Until then you can watch and listen.`;
    case "NotReadableError":
    case "AbortError":
      return `Cannot be opened: ${what}. Another program may be using it: close that, then try again.`;
    default:
      return `Cannot be opened: ${what} (${name}).`;
  }
}

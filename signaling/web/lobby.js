// SPDX-License-Identifier: Apache-2.0

import { capture, fillChoices, noDevicesBecause } from "./devices.js";

const LEVEL_EVERY_MS = 100;
/** Speech rarely fills the scale: it is stretched by so much. */
const LEVEL_GAIN = 4;

/** @typedef {import("./devices.js").CaptureWish} CaptureWish */
/** @typedef {import("./devices.js").Problem} Problem */

/** The form in front of the call: which devices to bring in, and a look at them when asked for. */
export class Lobby {
  #form;
  #defaults;
  /** @type {MediaStreamTrack[]} */
  #tracks = [];
  /** @type {AudioContext | null} */
  #audio = null;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #levelTimer;
  /** The latest change wins: what an older one opens is closed again. */
  #turn = 0;

  /** @param {HTMLFormElement} form @param {CaptureWish} defaults */
  constructor(form, defaults) {
    this.#form = form;
    this.#defaults = defaults;
    this.field("audio").checked = defaults.audio;
    this.field("video").checked = defaults.video;
    this.#part("preview-start").addEventListener("click", () => void this.#look());
    for (const name of ["audio", "video", "camera", "microphone"]) {
      this.field(name).addEventListener("change", () => void (this.#previewing && this.#look()));
    }
    navigator.mediaDevices?.addEventListener?.("devicechange", () => void this.#offerChoices());
    this.#explainAbsence();
  }

  /** @param {string} name @returns {HTMLInputElement} */
  field(name) {
    return /** @type {HTMLInputElement} */ (this.#form.elements.namedItem(name));
  }

  /** @returns {CaptureWish} */
  get wish() {
    const chosen = { camera: this.field("camera").value || undefined, microphone: this.field("microphone").value || undefined };
    return { ...this.#defaults, ...chosen, audio: this.field("audio").checked, video: this.field("video").checked };
  }

  /** Hands over what the preview has open, or opens it. @returns {Promise<{tracks: MediaStreamTrack[], problems: Problem[]}>} */
  async take() {
    const { wish } = this;
    const open = this.#tracks.filter((track) => track.readyState === "live");
    const has = (/** @type {string} */ kind) => open.some((track) => track.kind === kind);
    this.#tracks = [];
    this.close();
    const { tracks, problems } = await capture({ ...wish, audio: wish.audio && !has("audio"), video: wish.video && !has("video") });
    return { tracks: [...open, ...tracks], problems };
  }

  /** Ends the preview. */
  close() {
    this.#turn++;
    this.#stop();
    this.#part("preview-start").hidden = false;
    this.#part("preview-choice").hidden = true;
  }

  get #previewing() {
    return this.#part("preview-start").hidden;
  }

  async #look() {
    const turn = ++this.#turn;
    this.#stop();
    await this.#offerChoices();
    const { tracks, problems } = await capture(this.wish);
    if (turn !== this.#turn) {
      tracks.forEach((track) => track.stop());
      return;
    }
    this.#tracks = tracks;
    this.#part("preview-start").hidden = tracks.length > 0 || !(this.wish.audio || this.wish.video);
    this.#part("preview-choice").hidden &&= tracks.length === 0;
    this.#say(problems.map(({ words }) => words).join(" "));
    this.#showPicture(tracks.find(({ kind }) => kind === "video"));
    this.#showLevel(tracks.find(({ kind }) => kind === "audio"));
    tracks.forEach((track) => track.addEventListener("ended", () => void (this.#tracks.includes(track) && this.#look())));
    await this.#offerChoices();
  }

  #stop() {
    this.#tracks.forEach((track) => track.stop());
    this.#tracks = [];
    this.#showPicture(undefined);
    this.#showLevel(undefined);
  }

  /** @param {MediaStreamTrack | undefined} track */
  #showPicture(track) {
    const video = /** @type {HTMLVideoElement} */ (this.#form.querySelector("#preview video"));
    video.hidden = !track;
    video.srcObject = track ? new MediaStream([track]) : null;
  }

  /** @param {MediaStreamTrack | undefined} track */
  #showLevel(track) {
    const meter = /** @type {HTMLMeterElement} */ (this.#form.querySelector("#preview meter"));
    clearInterval(this.#levelTimer);
    void this.#audio?.close();
    this.#audio = null;
    meter.hidden = !track;
    if (!track) return;
    const audio = (this.#audio = new AudioContext());
    const analyser = audio.createAnalyser();
    const samples = new Float32Array(analyser.fftSize);
    audio.createMediaStreamSource(new MediaStream([track])).connect(analyser);
    this.#levelTimer = setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      meter.value = Math.min(1, LEVEL_GAIN * Math.hypot(...samples) / Math.sqrt(samples.length));
    }, LEVEL_EVERY_MS);
  }

  async #offerChoices() {
    await fillChoices({
      camera: /** @type {HTMLSelectElement} */ (/** @type {unknown} */ (this.field("camera"))),
      microphone: /** @type {HTMLSelectElement} */ (/** @type {unknown} */ (this.field("microphone"))),
    });
  }

  #explainAbsence() {
    const words = noDevicesBecause();
    if (!words) return;
    this.#say(words);
    this.#part("preview-start").hidden = true;
    for (const name of ["audio", "video"]) {
      this.field(name).checked = false;
      this.field(name).disabled = true;
    }
  }

  /** @param {string} words none: nothing is wrong */
  #say(words) {
    this.#part("lobby-problem").hidden = words === "";
    this.#part("lobby-problem").textContent = words;
  }

  /** @param {string} id @returns {HTMLElement} */
  #part(id) {
    return /** @type {HTMLElement} */ (document.getElementById(id));
  }
}

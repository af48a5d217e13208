// SPDX-License-Identifier: Apache-2.0

import { connect, mayPublish } from "./client.js";
import { capture, fillChoices } from "./devices.js";
import { icon } from "./icons.js";
import { StatisticsReader } from "./statistics.js";
import { Grid, Tile } from "./tiles.js";
import { Viewport, layerFor } from "./viewport.js";

/** @typedef {import("./client.js").Room} Room */
/** @typedef {import("./client.js").Publication} Publication */
/** @typedef {import("./client.js").Participant} Participant */
/** @typedef {import("./client.js").LocalPublication} LocalPublication */
/** @typedef {import("./roster.js").PublicationSlot} Slot */

const FIGURES_EVERY_MS = 1_000;
const OWN_TILE = "own";
const OWN_DEVICES = /** @type {const} */ ([["microphone", "audio", "Microphone"], ["camera", "video", "Camera"]]);
/** Why a call has ended, where the server's own word would be too short. */
const END_WORDS = /** @type {Record<string, string | undefined>} */ ({
  removed: "A moderator has removed you from the call.",
  replaced: "You have joined this room from another window or device, so this one has left.",
});

/**
 * @typedef {object} CallOptions
 * @property {HTMLElement} view
 * @property {(text: string, action?: {label: string, act: () => void}) => void} notify
 * @property {() => void} onEnd
 * @property {import("./devices.js").CaptureWish} capture
 * @property {boolean} statistics
 * @property {boolean} adapt  ask for what can be seen only
 * @property {import("./client.js").ConnectOptions} connect
 */

/** One call on the page: the room's events become tiles, the buttons become calls of the room. */
export class Call {
  /** @type {Room} */
  #room;
  #options;
  #grid;
  #reader = new StatisticsReader();
  /** @type {Map<Slot, HTMLMediaElement>} */
  #elements = new Map();
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #figuresTimer;
  #soundBlocked = false;
  /** Of whom it was said that they cannot be decrypted. @type {Set<Participant>} */
  #undecryptable = new Set();
  #viewport = new Viewport((key) => this.#askForView(key));
  /** What was last asked for each publication. @type {Map<string, string>} */
  #asked = new Map();
  /** Ids of the devices that were chosen. @type {{camera?: string, microphone?: string}} */
  #chosen;
  /** Takes this call's listeners off the page's buttons. */
  #end = new AbortController();

  /** @param {Room} room @param {CallOptions} options */
  constructor(room, options) {
    this.#room = room;
    this.#options = options;
    this.#chosen = { camera: options.capture.camera, microphone: options.capture.microphone };
    this.#grid = new Grid(this.#part("grid"));
    Object.assign(globalThis, { room });
    this.#listen();
  }

  /** @param {CallOptions} options @returns {Promise<Call>} once joined */
  static async start(options) {
    /** @type {Call | undefined} */
    let call;
    await connect(location.origin, options.connect, (room) => void (call = new Call(room, options)));
    const started = /** @type {Call} */ (/** @type {unknown} */ (call));
    started.#begin();
    return started;
  }

  /** Words for devices that cannot be had, and a way on. @param {import("./devices.js").Problem[]} problems */
  explain(problems) {
    for (const { devices, words } of problems) {
      const again = async () => {
        for (const device of devices) if (!this.#own(kindOf(device))) await this.#toggle(kindOf(device));
      };
      this.#options.notify(words, devices.length > 0 ? { label: "Try again", act: () => void again() } : undefined);
    }
  }

  #listen() {
    const room = this.#room;
    room.on("slot", (slot) => this.#addSlot(slot));
    room.on("slotClosed", (slot) => this.#removeSlot(slot));
    room.on("attached", ({ publication }) => this.#refresh(publication.participant));
    room.on("detached", ({ publication }) => this.#refresh(publication.participant));
    room.on("participantJoined", (participant) => this.#addParticipant(participant));
    room.on("participantUpdated", (participant) => this.#rename(participant));
    room.on("participantLeft", ({ participant }) => this.#removeParticipant(participant));
    room.on("published", (publication) => this.#refresh(publication.participant));
    room.on("unpublished", (publication) => this.#onUnpublished(publication));
    room.on("publicationUpdated", (publication) => this.#refresh(publication.participant));
    room.on("paused", ({ publication }) => this.#refresh(publication.participant));
    room.on("quality", ({ participantId, score }) => this.#tileOf(participantId)?.setQuality(score));
    room.on("speakers", (ids) => this.#showSpeakers(ids));
    room.on("error", (error) => this.#options.notify([error.message, error.advice].filter(Boolean).join(" ")));
    room.on("permissionsChanged", ({ before, now }) => this.#onPermissions(before, now));
    room.on("withdrawn", (local) => this.#onWithdrawn(local));
    room.on("mutedByAdmin", (local) => this.#onMutedByAdmin(local));
    room.on("undecryptable", (publication) => this.#onUndecryptable(publication));
    room.on("reconnecting", () => this.#showConnection("Connection lost. Coming back …"));
    room.on("reconnected", () => this.#showConnection(null));
    room.on("closed", ({ reason, error }) => this.#onClosed(reason, error));
  }

  #begin() {
    this.#part("room-name").textContent = this.#room.name;
    this.#part("encrypted").hidden = !this.#room.encrypted;
    this.#addOwnTile();
    this.#button("microphone", () => this.#toggle("audio"));
    this.#button("camera", () => this.#toggle("video"));
    this.#button("devices", () => this.#showDevices(this.#part("device-panel").hidden));
    for (const device of /** @type {const} */ (["camera", "microphone"])) {
      this.#chooser(device).addEventListener("change", () => void this.#switchDevice(device), { signal: this.#end.signal });
    }
    this.#chooser("codec").addEventListener("change", () => void this.#switchCodec(), { signal: this.#end.signal });
    const devicesChanged = () => void (this.#part("device-panel").hidden || this.#fillDevices());
    navigator.mediaDevices?.addEventListener?.("devicechange", devicesChanged, { signal: this.#end.signal });
    this.#button("statistics", () => this.#showFigures(this.#figuresTimer === undefined));
    this.#button("leave", () => this.#room.leave());
    this.#room.localPublications.forEach((local) => this.#watchDevice(local));
    this.#showButtons();
    this.#showHeadcount();
    this.#showFigures(this.#options.statistics);
  }

  /** Said once of each participant. @param {Publication} publication */
  #onUndecryptable({ participant }) {
    if (this.#undecryptable.has(participant)) return;
    this.#undecryptable.add(participant);
    this.#options.notify(`${participant.name} uses another passphrase, or none: you can neither see nor hear each other.`);
  }

  // --- media elements: one per slot for as long as the slot lives; pictures move between tiles, sound stays parked

  /** @param {Slot} slot */
  #addSlot(slot) {
    const element = document.createElement(slot.kind);
    element.autoplay = true;
    element.setAttribute("playsinline", "");
    element.dataset.slot = slot.kind;
    if (slot.kind === "video") element.muted = true;
    this.#part("parked").append(element);
    this.#elements.set(slot, element);
    slot.show(element);
    element.play().catch((error) => this.#onPlayRefused(error));
  }

  /** @param {Slot} slot */
  #removeSlot(slot) {
    const element = this.#elements.get(slot);
    this.#elements.delete(slot);
    if (!element) return;
    element.srcObject = null;
    element.remove();
  }

  /** @param {unknown} error */
  #onPlayRefused(error) {
    if (!(error instanceof DOMException) || error.name !== "NotAllowedError" || this.#soundBlocked) return;
    this.#soundBlocked = true;
    this.#options.notify("The browser keeps the sound off until you say so.", {
      label: "Turn on sound",
      act: () => {
        this.#soundBlocked = false;
        for (const element of this.#elements.values()) element.play().catch((again) => this.#onPlayRefused(again));
      },
    });
  }

  // --- participants

  /** @param {Participant} participant */
  #addParticipant(participant) {
    this.#grid.add(participant.id, new Tile(participant.id, participant.name));
    this.#refresh(participant);
    this.#showHeadcount();
  }

  /** @param {Participant} participant */
  #rename(participant) {
    this.#grid.get(participant.id)?.setName(participant.name);
    for (const { id, source } of participant.publications.values()) {
      if (source === "screen_share") this.#grid.get(id)?.setName(screenName(participant));
    }
  }

  /** @param {Participant} participant */
  #removeParticipant(participant) {
    this.#removeTile(participant.id);
    this.#showHeadcount();
  }

  /** @param {string} key */
  #removeTile(key) {
    const tile = this.#grid.get(key);
    if (tile) {
      this.#place(tile, null);
      this.#viewport.forget(tile.element);
    }
    this.#grid.remove(key);
  }

  /** @param {Publication} publication */
  #onUnpublished(publication) {
    this.#asked.delete(publication.id);
    this.#removeTile(publication.id);
    this.#refresh(publication.participant);
  }

  /** Makes the tiles of a participant show what is so now. @param {Participant} participant */
  #refresh(participant) {
    const publications = [...participant.publications.values()];
    const camera = publications.find(({ source }) => source === "camera");
    const microphone = publications.find(({ source }) => source === "microphone");
    const tile = this.#grid.get(participant.id);
    if (tile) {
      this.#showPublication(tile, camera);
      tile.setMicrophone(microphone !== undefined && !microphone.muted);
    }
    for (const screen of publications.filter(({ source }) => source === "screen_share")) {
      this.#showPublication(this.#grid.get(screen.id) ?? this.#addScreen(screen), screen);
    }
  }

  /** @param {Publication} screen */
  #addScreen(screen) {
    const tile = new Tile(screen.id, screenName(screen.participant));
    tile.element.classList.add("screen");
    this.#grid.add(screen.id, tile);
    return tile;
  }

  /** @param {Tile} tile @param {Publication | undefined} publication */
  #showPublication(tile, publication) {
    const element = publication?.slot && !publication.muted ? this.#elements.get(publication.slot) : undefined;
    if (element?.paused) element.play().catch((error) => this.#onPlayRefused(error));
    this.#place(tile, element ?? null);
    tile.setPaused(publication?.slot && !publication.muted ? publication.paused : null);
    if (publication && this.#options.adapt) {
      this.#viewport.watch(/** @type {string} */ (tile.element.dataset.key), tile.element);
      this.#askForView(/** @type {string} */ (tile.element.dataset.key));
    }
    if (publication) tile.offerLayers(publication, (layer) => this.#attempt(this.#room.setLayer(publication.id, layer)));
    else tile.withdrawLayers();
  }

  /** The tile of a participant, ours among them. @param {string} participantId */
  #tileOf(participantId) {
    return this.#grid.get(participantId === this.#room.participantId ? OWN_TILE : participantId);
  }

  // --- what can be seen is asked for, and no more

  /** @param {string} key of a tile */
  #askForView(key) {
    const tile = this.#grid.get(key);
    const view = tile && this.#viewport.viewOf(tile.element);
    const publication = this.#room.publications.get(key) ?? this.#cameraOf(key);
    if (!view || !publication || this.#room.state !== "connected") return;
    const wish = { visible: view.visible, size: layerFor(publication.layers, view) };
    const words = JSON.stringify(wish);
    if (words === (this.#asked.get(publication.id) ?? JSON.stringify({ visible: true, size: null }))) return;
    this.#asked.set(publication.id, words);
    this.#room.setView(publication.id, wish).catch(() => this.#asked.delete(publication.id)); // it may just have gone
  }

  /** @param {string} participantId */
  #cameraOf(participantId) {
    const publications = [...(this.#room.participants.get(participantId)?.publications.values() ?? [])];
    return publications.find(({ source }) => source === "camera");
  }

  /** What a tile no longer shows is parked: browsers pause what is taken off the page. @param {Tile} tile @param {HTMLMediaElement | null} element */
  #place(tile, element) {
    if (tile.picture && tile.picture !== element) this.#part("parked").append(tile.picture);
    tile.showPicture(element);
  }

  /** @param {string[]} ids */
  #showSpeakers(ids) {
    for (const [key, tile] of this.#grid.tiles) {
      tile.setSpeaking(ids.includes(key === OWN_TILE ? (this.#room.participantId ?? "") : key));
    }
  }

  // --- our own side

  #addOwnTile() {
    this.#grid.add(OWN_TILE, new Tile(OWN_TILE, this.#options.connect.name, { local: true }));
    this.#showOwnPicture();
  }

  #showOwnPicture() {
    const tile = this.#grid.get(OWN_TILE);
    const camera = this.#own("video");
    tile?.setMicrophone(this.#own("audio")?.muted === false);
    if (!camera || camera.muted) {
      tile?.showPicture(null);
      return;
    }
    const video = document.createElement("video");
    video.muted = video.autoplay = video.playsInline = true;
    video.srcObject = new MediaStream([camera.track]);
    tile?.showPicture(video);
  }

  /** @param {"audio" | "video"} kind @returns {LocalPublication | undefined} */
  #own(kind) {
    return this.#room.localPublications.find((local) => local.source === (kind === "audio" ? "microphone" : "camera"));
  }

  /** Mutes or unmutes; with nothing published yet it tries the device again. @param {"audio" | "video"} kind */
  async #toggle(kind) {
    const local = this.#own(kind);
    if (local) await this.#attempt(this.#room.mute(local, !local.muted));
    else await this.#publishDevice(kind);
    this.#showOwn();
  }

  /** @param {"audio" | "video"} kind */
  async #publishDevice(kind) {
    const tracks = await this.#capture(kind);
    if (tracks.length === 0) return;
    const added = await this.#attempt(this.#room.publish(tracks, this.#options.connect.publish));
    if (!added) tracks.forEach((track) => track.stop());
    added?.forEach((local) => this.#watchDevice(local));
  }

  /** @param {"audio" | "video"} kind @returns {Promise<MediaStreamTrack[]>} none if it cannot be had, which is said */
  async #capture(kind) {
    const wish = { ...this.#options.capture, ...this.#chosen, audio: kind === "audio", video: kind === "video" };
    const { tracks, problems } = await capture(wish);
    this.explain(problems);
    if (this.#room.state !== "closed") return tracks;
    tracks.forEach((track) => track.stop());
    return [];
  }

  /** @param {LocalPublication} local */
  #watchDevice(local) {
    const { track } = local;
    track.addEventListener("ended", async () => {
      if (local.track !== track) return;
      const device = deviceOf(local.kind);
      this.#chosen[device] = undefined;
      this.explain([{ devices: [device], words: `Your ${device} was unplugged or taken away. Plug it in or choose another, then try again.` }]);
      await this.#attempt(this.#room.unpublish(local));
      this.#showOwn();
    });
  }

  #showOwn() {
    this.#showOwnPicture();
    this.#showButtons();
  }

  /** @param {LocalPublication} local */
  #onWithdrawn(local) {
    local.track.stop();
    this.#options.notify(`You may not use your ${deviceOf(local.kind)} in this room: it has been turned off.`);
    this.#showOwn();
  }

  /** @param {LocalPublication} local */
  #onMutedByAdmin(local) {
    const device = deviceOf(local.kind);
    this.#options.notify(`A moderator has turned your ${device} off. You can turn it on again by its button.`);
    this.#showOwn();
  }

  /** What is taken away of what we send is told by `withdrawn`. @param {import("./client.js").Permissions} before @param {import("./client.js").Permissions} now */
  #onPermissions(before, now) {
    for (const [device, kind] of OWN_DEVICES) {
      if (mayPublish(before, device) || !mayPublish(now, device) || this.#own(kind)) continue;
      const turnOn = () => void (this.#own(kind) ?? this.#toggle(kind));
      this.#options.notify(`You may use your ${device} now.`, { label: "Turn it on", act: turnOn });
    }
    if (before.can_subscribe && !now.can_subscribe) this.#options.notify("You may not see and hear the others for now.");
    this.#showOwn();
  }

  // --- choosing devices

  /** @param {boolean} shown */
  #showDevices(shown) {
    this.#part("device-panel").hidden = !shown;
    if (shown) void this.#fillDevices();
    this.#showButtons();
  }

  async #fillDevices() {
    const selects = { camera: this.#chooser("camera"), microphone: this.#chooser("microphone") };
    await fillChoices(selects);
    for (const [device, kind] of OWN_DEVICES) {
      const used = this.#own(kind)?.track.getSettings().deviceId;
      if (used) selects[device].value = used;
      selects[device].disabled = !this.#room.mayPublish(device);
    }
    const camera = this.#own("video");
    const codecs = this.#chooser("codec");
    codecs.replaceChildren(...this.#room.videoCodecs.map((name) => new Option(name, name)));
    codecs.value = camera?.options.codec ?? codecs.options[0]?.value ?? "";
    codecs.disabled = !camera;
  }

  async #switchCodec() {
    const camera = this.#own("video");
    const codec = /** @type {NonNullable<import("./media.js").PublishOptions["codec"]>} */ (this.#chooser("codec").value);
    if (camera) await this.#attempt(this.#room.setCodec(camera, codec));
  }

  /** The old one is let go first: phones open one camera at a time. @param {import("./devices.js").Device} device */
  async #switchDevice(device) {
    const kind = kindOf(device);
    this.#chosen[device] = this.#chooser(device).value || undefined;
    const local = this.#own(kind);
    if (!local) return;
    local.track.stop();
    const [track] = await this.#capture(kind);
    if (!track) await this.#attempt(this.#room.unpublish(local));
    else if (!this.#room.localPublications.includes(local)) track.stop(); // withdrawn meanwhile
    else {
      await this.#attempt(this.#room.replaceTrack(local, track));
      this.#watchDevice(local);
    }
    this.#showOwn();
  }

  /** @param {import("./devices.js").Device | "codec"} device */
  #chooser(device) {
    return /** @type {HTMLSelectElement} */ (this.#part(`choose-${device}`));
  }

  // --- buttons and words

  #showButtons() {
    for (const [id, kind, words] of OWN_DEVICES) {
      const off = this.#own(kind)?.muted !== false;
      const allowed = this.#room.permissions === null || this.#room.mayPublish(id);
      this.#label(id, off ? `${id}Off` : id, allowed ? `${words} ${off ? "off" : "on"}` : `${words} not allowed`, off);
      /** @type {HTMLButtonElement} */ (this.#part(id)).disabled = !allowed;
    }
    this.#label("devices", "devices", "Devices", !this.#part("device-panel").hidden);
    this.#label("statistics", "statistics", "Statistics", this.#figuresTimer !== undefined);
    this.#label("leave", "leave", "Leave", null);
  }

  /** @param {string} id @param {string} picture @param {string} words @param {boolean | null} pressed */
  #label(id, picture, words, pressed) {
    const button = this.#part(id);
    const text = document.createElement("span");
    text.textContent = words;
    button.replaceChildren(icon(/** @type {Parameters<typeof icon>[0]} */ (picture)), text);
    button.title = words;
    button.setAttribute("aria-label", words);
    if (pressed !== null) button.setAttribute("aria-pressed", String(pressed));
  }

  #showHeadcount() {
    const count = this.#room.participants.size + 1;
    this.#part("headcount").textContent = count === 1 ? "only you" : `${count} people`;
    this.#part("invite").hidden = count > 1;
  }

  /** @param {string | null} words */
  #showConnection(words) {
    this.#part("connection").hidden = words === null;
    this.#part("connection").textContent = words;
  }

  /** @param {boolean} shown */
  #showFigures(shown) {
    clearInterval(this.#figuresTimer);
    this.#figuresTimer = shown ? setInterval(() => void this.#updateFigures(), FIGURES_EVERY_MS) : undefined;
    if (!shown) for (const tile of this.#grid.tiles.values()) tile.setFigures([]);
    this.#showButtons();
  }

  async #updateFigures() {
    const report = await this.#room.getStats();
    if (!report || this.#figuresTimer === undefined) return;
    const { inbound, outbound } = this.#reader.read(report);
    for (const publication of this.#room.publications.values()) {
      if (publication.kind !== "video") continue;
      const tile = this.#grid.get(publication.source === "screen_share" ? publication.id : publication.participant.id);
      tile?.setFigures(receivedLines(publication, inbound.get(publication.slot?.mid ?? "")));
    }
    this.#grid.get(OWN_TILE)?.setFigures(outbound.filter(({ kind }) => kind === "video").map(sentLine));
  }

  /** @param {string} reason @param {import("./client.js").SfuError | null} error */
  #onClosed(reason, error) {
    clearInterval(this.#figuresTimer);
    this.#viewport.close();
    this.#end.abort();
    this.#room.localPublications.forEach(({ track }) => track.stop());
    this.#grid.clear();
    this.#showConnection(null);
    if (reason === "not joined") return;
    this.#part("device-panel").hidden = true;
    const words = END_WORDS[reason] ?? (error ? "The call has ended." : `The call has ended: ${reason}.`);
    if (reason !== "left") this.#options.notify([words, error?.message, error?.advice].filter(Boolean).join(" "));
    this.#options.onEnd();
  }

  /**
   * @template T
   * @param {Promise<T>} work
   * @returns {Promise<T | undefined>} what fails is put into words
   */
  async #attempt(work) {
    try {
      return await work;
    } catch (error) {
      const { message, advice } = /** @type {import("./client.js").SfuError} */ (error);
      this.#options.notify([message, advice].filter(Boolean).join(" "));
      return undefined;
    }
  }

  /** @param {string} id @returns {HTMLElement} */
  #part(id) {
    return /** @type {HTMLElement} */ (document.getElementById(id));
  }

  /** @param {string} id @param {() => unknown} act */
  #button(id, act) {
    this.#part(id).addEventListener("click", () => void act(), { signal: this.#end.signal });
  }
}

/** @param {import("./devices.js").Device} device */
function kindOf(device) {
  return device === "microphone" ? "audio" : "video";
}

/** @param {"audio" | "video"} kind @returns {import("./devices.js").Device} */
function deviceOf(kind) {
  return kind === "audio" ? "microphone" : "camera";
}

/** @param {Participant} participant */
function screenName({ name }) {
  return `${name}’s screen`;
}

/**
 * @param {Publication} publication
 * @param {import("./statistics.js").InboundStatistics | undefined} figures
 * @returns {string[]}
 */
function receivedLines(publication, figures) {
  const { layer } = publication;
  if (!figures) return ["no picture is bound"];
  return [
    `layer ${layer ? `${layer.spatial} · T${layer.temporal}` : "–"}  ${figures.codec}`,
    `${figures.width}×${figures.height}  ${figures.fps.toFixed(0)} fps`,
    `${rate(figures.bitrate_bps)}  loss ${figures.lossPercent.toFixed(1)} %`,
    `freezes ${figures.freezes}  buffer ${figures.jitterBufferMs.toFixed(0)} ms`,
  ];
}

/** @param {import("./statistics.js").OutboundStatistics} figures */
function sentLine({ rid, width, height, fps, bitrate_bps, codec }) {
  if (fps === 0 && bitrate_bps === 0) return `${rid || "–"}  not sent: nobody needs it`;
  return `${rid || "–"}  ${width}×${height}  ${fps.toFixed(0)} fps  ${rate(bitrate_bps)}  ${codec}`;
}

/** @param {number} bps */
function rate(bps) {
  return bps >= 1_000_000 ? `${(bps / 1_000_000).toFixed(2)} Mbit/s` : `${(bps / 1_000).toFixed(0)} kbit/s`;
}

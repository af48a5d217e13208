// SPDX-License-Identifier: Apache-2.0

/**
 * The client library of pysfu: `connect` joins a room, the room tells what happens in it by events.
 *
 *     const room = await connect("https://example.org", { room: "tea", name: "Ada", stream });
 *     room.on("attached", ({ publication, slot }) => slot.show(elementFor(publication)));
 *
 * It speaks the protocol of docs/protocol.md. One PeerConnection carries everything; it may be replaced by another while
 * the room goes on, so nothing outside keeps hold of it.
 */

import { Encryption } from "./e2ee.js";
import { Emitter } from "./emitter.js";
import { LocalPublication } from "./media.js";
import { Publication, Participant, Roster } from "./roster.js";
import { Session } from "./session.js";
import { SfuError, errorOf } from "./signal.js";
import { Wishes } from "./wishes.js";

export { LocalPublication, Participant, Publication, SfuError };

/** Pauses before each attempt to come back (ms); after the last one the room is lost. */
const RECONNECT_AFTER_MS = [0, 500, 1_000, 2_000, 4_000, 8_000, 15_000];
/** Up to this much is added at random, so that the clients of a server that restarts do not come all at once. */
const RECONNECT_JITTER = 0.3;

/** @typedef {import("./media.js").MediaConnection} MediaConnection */
/** @typedef {import("./media.js").PublishOptions} PublishOptions */
/** @typedef {import("./roster.js").PublicationSlot} Slot */
/** @typedef {import("./signal.js").Message} Message */

/**
 * Asked for a token at each join, and at each return: tokens expire. `identity` is undefined until it is known.
 *
 * @typedef {(who: {room: string, name: string, identity: string | undefined}) => Promise<string | undefined>} TokenSource
 *
 * @typedef {object} Permissions  what the server allows us
 * @property {boolean} can_publish
 * @property {import("./media.js").Source[] | null} can_publish_sources  of `can_publish`, only these; null: all
 * @property {boolean} can_subscribe
 * @property {boolean} can_publish_data
 * @property {boolean} can_update_metadata
 * @property {boolean} hidden
 * @property {boolean} room_admin
 *
 * @typedef {object} ConnectOptions
 * @property {string} room
 * @property {string} name        shown to the others
 * @property {string} [identity]  who this is, where the token does not say it; default: somebody new
 * @property {string | TokenSource} [token]
 * @property {MediaStream | MediaStreamTrack[]} [stream]  published with the first offer: earlier than by `publish` afterwards
 * @property {PublishOptions} [publish]  how
 * @property {string} [passphrase]  encrypts all media end to end; the others need the same one. It is not sent anywhere
 *
 * @typedef {"connecting" | "connected" | "reconnecting" | "closed"} RoomState
 *
 * @typedef {object} OwnEvents
 * @property {RoomState} state
 * @property {Slot} slot              a slot was added: give it an element with `slot.show`
 * @property {Slot} slotClosed
 * @property {{publication: Publication, slot: Slot, track: MediaStreamTrack}} attached  its frames are played by that slot from now on
 * @property {{publication: Publication, slot: Slot, track: MediaStreamTrack}} detached
 * @property {{publication: Publication, spatial: number, temporal: number}} layer  what the server forwards of it
 * @property {{publication: Publication, reason: "bandwidth" | "overload" | null}} paused  the server forwards nothing of it; null: it does again
 * @property {{participantId: string, score: number | null}} quality  of a connection, 1 (bad) to 5; null: not told any more. May be ours
 * @property {Publication} undecryptable  it comes, but with another passphrase or without any; told again now and then
 * @property {string[]} speakers      ids of the participants that speak, the loudest first; ours may be among them
 * @property {{before: Permissions, now: Permissions}} permissionsChanged  of ours
 * @property {LocalPublication} withdrawn   ours, by the server: it may not be published. Its track is the listener's to stop
 * @property {LocalPublication} mutedByAdmin  ours; `mute` unmutes it
 * @property {SfuError} error
 * @property {{reason: string, retryAfterMs: number | null}} closing  the server is about to end this
 * @property {{attempt: number, inMs: number, reason: string}} reconnecting
 * @property {null} reconnected
 * @property {{reason: string, error: SfuError | null}} closed  the end of this room object
 *
 * @typedef {import("./roster.js").RosterEvents & OwnEvents} RoomEvents
 */

/** @extends {Emitter<RoomEvents>} */
export class Room extends Emitter {
  #url;
  #options;
  /** Kept over reconnects: the server lets a join with the same identity replace the lost one. */
  #identity;
  /** @type {RoomState} */
  #state = "connecting";
  /** @type {Session | null} */
  #session = null;
  #roster = new Roster((name, detail) => this.#onRoster(name, detail));
  /** @type {Set<LocalPublication>} */
  #local = new Set();
  #wishes = new Wishes(async (publication, wish) => {
    await this.#live?.signal.request("subscription", { publication, ...wish });
  });
  /** @type {string | null} */
  #participantId = null;
  /** @type {Permissions | null} */
  #permissions = null;
  /** @type {number | null} */
  #retryAfterMs = null;
  /** @type {Encryption | null} */
  #encryption = null;
  #onPageHide = () => void this.leave();

  /** @param {string} url @param {ConnectOptions} options */
  constructor(url, options) {
    super();
    this.#url = websocketUrl(url);
    this.#options = options;
    this.#identity = options.identity;
  }

  /**
   * @param {string} url  of the server (http, https, ws or wss; a bare host gets the path /ws)
   * @param {ConnectOptions} options
   * @param {(room: Room) => void} [prepare]  gets the room before anything happens in it: the place to add listeners
   * @returns {Promise<Room>} once joined and negotiated
   */
  static async connect(url, options, prepare) {
    const room = new Room(url, options);
    prepare?.(room);
    for (const track of tracksOf(options.stream ?? [])) {
      room.#local.add(new LocalPublication(track, options.publish ?? {}));
    }
    try {
      if (options.passphrase) room.#encryption = await Encryption.fromPassphrase(options.passphrase, options.room);
      await room.#enter();
    } catch (error) {
      room.#finish("not joined", asSfuError(error));
      throw error;
    }
    globalThis.addEventListener?.("pagehide", room.#onPageHide);
    return room;
  }

  get state() {
    return this.#state;
  }

  get name() {
    return this.#options.room;
  }

  /** Our own id in the room. */
  get participantId() {
    return this.#participantId;
  }

  /** Null before the join. */
  get permissions() {
    return this.#permissions;
  }

  /** Whether all media is encrypted end to end. */
  get encrypted() {
    return this.#encryption !== null;
  }

  /** @param {import("./media.js").Source} source */
  mayPublish(source) {
    return mayPublish(this.#permissions, source);
  }

  /** The others, by id. */
  get participants() {
    return /** @type {ReadonlyMap<string, Participant>} */ (this.#roster.participants);
  }

  /** What the others publish, by id. */
  get publications() {
    return /** @type {ReadonlyMap<string, Publication>} */ (this.#roster.publications);
  }

  get localPublications() {
    return [...this.#local];
  }

  get slots() {
    return this.#session?.media.slots ?? [];
  }

  /** Video codecs to choose from, the preferred first: what this browser encodes and the server allows. */
  get videoCodecs() {
    return this.#session?.media.videoCodecs ?? [];
  }

  /** State of the connection that carries the media. */
  get mediaState() {
    return this.#session?.media.state ?? "closed";
  }

  /**
   * While reconnecting it is published as soon as the room is back.
   *
   * @param {MediaStream | MediaStreamTrack[]} source
   * @param {PublishOptions} [options]
   * @returns {Promise<LocalPublication[]>}
   */
  async publish(source, options = {}) {
    const added = tracksOf(source).map((track) => new LocalPublication(track, options));
    const session = this.#live;
    for (const local of added) {
      this.#local.add(local);
      session?.media.add(local);
    }
    try {
      if (session) await session.negotiate();
    } catch (error) {
      for (const local of added) await this.#drop(local);
      throw error;
    }
    return added;
  }

  /** @param {LocalPublication} local its track is not stopped: it is the caller's */
  async unpublish(local) {
    await this.#drop(local);
    if (local.id) await this.#live?.signal.request("unpublish", { publication: local.id });
  }

  /** @param {LocalPublication} local @param {boolean} muted */
  async mute(local, muted) {
    local.muted = muted;
    local.track.enabled = !muted;
    await this.#session?.media.replaceTrack(local);
    if (local.id) await this.#live?.signal.request("mute", { publication: local.id, muted });
  }

  /** Tells the others something about us. @param {{name?: string, metadata?: string, attributes?: Record<string, string>}} change */
  async update(change) {
    await this.#live?.signal.request("update", change);
  }

  /** @param {LocalPublication} local @param {MediaStreamTrack} track another camera or microphone, say */
  async replaceTrack(local, track) {
    track.enabled = !local.muted;
    local.track = track;
    await this.#session?.media.replaceTrack(local);
  }

  /**
   * Goes on in another video codec; the publication stays the same, and so do its layers.
   *
   * @param {LocalPublication} local
   * @param {NonNullable<PublishOptions["codec"]>} codec
   */
  async setCodec(local, codec) {
    local.options = { ...local.options, codec, scalabilityMode: undefined };
    const session = this.#session;
    await session?.media.setCodec(local, codec);
    if (session === this.#live) await session?.negotiate();
  }

  /**
   * Asks for at most that layer of a publication; null: whatever is best.
   *
   * @param {string} publicationId
   * @param {{spatial?: number | null, temporal?: number | null} | null} layer
   */
  setLayer(publicationId, layer) {
    return this.#wishes.change(publicationId, { max_spatial: layer?.spatial ?? null, max_temporal: layer?.temporal ?? null });
  }

  /**
   * Asks for no more pixels than that: the size at which it is shown.
   *
   * @param {string} publicationId
   * @param {{width: number, height: number} | null} size
   */
  setSize(publicationId, size) {
    return this.#wishes.change(publicationId, { max_width: size?.width ?? null, max_height: size?.height ?? null });
  }

  /**
   * Says how it is seen, in one request: not at all, or at most at that size.
   *
   * @param {string} publicationId
   * @param {{visible: boolean, size: {width: number, height: number} | null}} view
   */
  setView(publicationId, { visible, size }) {
    const wish = { paused: !visible, max_width: size?.width ?? null, max_height: size?.height ?? null };
    return this.#wishes.change(publicationId, wish);
  }

  /** Served before the others where bandwidth is short. @param {string} publicationId @param {boolean} selected */
  setSelected(publicationId, selected) {
    return this.#wishes.change(publicationId, { selected });
  }

  /** @param {string} publicationId @param {boolean} paused */
  setPaused(publicationId, paused) {
    return this.#wishes.change(publicationId, { paused });
  }

  /** @param {string} publicationId @param {string | null} mid the slot in which it is wanted; null: any */
  setSlot(publicationId, mid) {
    return this.#wishes.change(publicationId, { slot: mid });
  }

  /** @returns {Promise<RTCStatsReport | null>} */
  async getStats() {
    return (await this.#session?.media.getStats()) ?? null;
  }

  /**
   * Puts a new PeerConnection in the place of the present one, which goes on until the new one is ready. Publications stay
   * what they are; pictures and sound come by new slots. Happens by itself when the connection fails.
   */
  async replaceConnection() {
    const session = this.#live;
    if (!session || session.replacing) return;
    session.replacing = true;
    const before = session.swapMedia();
    let ready = false;
    try {
      await this.#fill(session);
      ready = await session.ready();
    } catch (error) {
      this.#onError(asSfuError(error));
    }
    session.replacing = false;
    this.#closeMedia(before);
    if (!ready && session === this.#live) void this.#reconnect("the media connection failed");
  }

  async leave() {
    if (this.#state === "closed") return;
    const signal = this.#session?.signal;
    if (signal && !signal.closed) signal.send("leave");
    this.#finish("left", null);
  }

  /** The session, if the server can be asked something now: what changes meanwhile is told when the room is back. */
  get #live() {
    return this.#state === "connected" ? this.#session : null;
  }

  // --- joining, and coming back

  async #enter() {
    const session = await Session.join(this.#url, await this.#who(), {
      onSlot: (slot) => this.emit("slot", slot),
      onSlotChange: (slot, previous) => this.#onSlotChange(slot, previous),
      onState: (media) => this.#onMediaState(session, media),
      encryption: this.#encryption,
      onUndecryptable: ({ publication }) => void (publication && this.emit("undecryptable", publication)),
    });
    const before = this.#session;
    this.#session = session;
    try {
      if (this.#state === "closed") throw new SfuError("left", "The room was left before it was joined.");
      await this.#start(session);
    } catch (error) {
      this.#session = before;
      this.#closeSession(session);
      throw error;
    }
    this.#retryAfterMs = null;
    this.#setState("connected");
    if (before) void session.ready().then(() => this.#closeSession(before));
    this.#wishes.repeat(this.publications);
    this.#grow();
  }

  /** Who wants to join: a token says it itself, unless the caller knows better. */
  async #who() {
    const { room, name, identity, token: source } = this.#options;
    const token = typeof source === "function" ? await source({ room, name, identity: this.#identity }) : source;
    if (token) return { room, name, token, ...(identity ? { identity } : {}) };
    this.#identity ??= randomIdentity();
    return { room, name, identity: this.#identity };
  }

  /** @param {Session} session */
  async #start(session) {
    const { signal, joined } = session;
    signal.on("message", (message) => this.#onMessage(session, message));
    signal.on("closed", ({ reason }) => this.#onLost(session, reason || "the connection was lost"));
    this.#participantId = joined.participant;
    this.#identity = joined.identity;
    this.#permissions = joined.permissions;
    for (const local of this.#local) if (!this.mayPublish(local.source)) this.#withdraw(local);
    this.#roster.replace(joined.participants);
    await this.#fill(session);
  }

  /** What we publish, and slots for what the others do. @param {Session} session with an empty connection */
  async #fill(session) {
    for (const local of this.#local) session.media.add(local);
    session.media.reserve(this.#roster.pictures);
    await session.negotiate();
  }

  /** @param {Session} session @param {string} reason */
  #onLost(session, reason) {
    if (session !== this.#session || this.#state === "closed") return;
    if (this.#state === "connected") void this.#reconnect(reason);
  }

  /** @param {string} reason */
  async #reconnect(reason) {
    this.#setState("reconnecting");
    this.#session?.signal.close();
    /** @type {SfuError | null} */
    let last = null;
    for (const [index, pause] of RECONNECT_AFTER_MS.entries()) {
      const inMs = Math.round(Math.max(pause, index === 0 ? (this.#retryAfterMs ?? 0) : 0) * (1 + RECONNECT_JITTER * Math.random()));
      this.emit("reconnecting", { attempt: index + 1, inMs, reason });
      await sleep(inMs);
      if (/** @type {RoomState} */ (this.#state) === "closed") return;
      try {
        await this.#enter();
        this.emit("reconnected", null);
        return;
      } catch (error) {
        last = asSfuError(error);
        if (last.fatal) break;
      }
    }
    this.#finish(reason, last);
  }

  /** @param {string} reason @param {SfuError | null} error */
  #finish(reason, error) {
    if (this.#state === "closed") return;
    globalThis.removeEventListener?.("pagehide", this.#onPageHide);
    this.#setState("closed");
    if (this.#session) this.#closeSession(this.#session);
    this.#encryption?.close();
    this.emit("closed", { reason, error });
  }

  /** @param {Session} session */
  #closeSession({ signal, media }) {
    signal.close();
    this.#closeMedia(media);
  }

  /** @param {MediaConnection} media */
  #closeMedia(media) {
    media.close();
    for (const slot of media.slots) this.emit("slotClosed", slot);
  }

  /** @param {RoomState} state */
  #setState(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.emit("state", state);
  }

  // --- negotiation and media

  /** @param {LocalPublication} local */
  async #drop(local) {
    this.#local.delete(local);
    await this.#session?.media.remove(local);
  }

  /** What the server does not let us publish. @param {LocalPublication} local */
  #withdraw(local) {
    this.#drop(local).catch(() => {}); // the connection is closed, or about to be
    this.emit("withdrawn", local);
  }

  /** @param {Session} session @param {MediaConnection} media */
  #onMediaState(session, media) {
    if (media === session.media && media.state === "failed" && session === this.#live) void this.replaceConnection();
  }

  /** @param {Slot} slot @param {Publication | null} before */
  #onSlotChange(slot, before) {
    const { track } = slot;
    if (before) {
      if (before.slot === slot) before.slot = null;
      this.emit("detached", { publication: before, slot, track });
    }
    const now = slot.publication;
    if (now) {
      now.slot = slot;
      this.emit("attached", { publication: now, slot, track });
    }
  }

  // --- what the server says

  /** @param {Session} session @param {Message} message */
  #onMessage(session, message) {
    switch (message.type) {
      case "participant_joined":
        this.#roster.join(message.participant);
        break;
      case "participant_left":
        this.#roster.leave(message.participant, message.reason);
        break;
      case "participant_updated":
        this.#roster.updateParticipant(message.participant);
        break;
      case "published":
        this.#roster.publish(message.participant, message.publication);
        break;
      case "unpublished":
        this.#onUnpublished(message);
        break;
      case "publication_updated":
        this.#onPublicationUpdated(session, message);
        break;
      case "permissions_changed":
        this.#onPermissions(message);
        break;
      case "slot":
        this.#onSlot(session, message);
        break;
      case "layer":
        this.#onLayer(message);
        break;
      case "subscription_paused":
        this.#onPaused(message);
        break;
      case "publish_layers":
        this.#onPublishLayers(session, message);
        break;
      case "publish_backup":
        this.#onPublishBackup(session, message);
        break;
      case "quality":
        this.#onQuality(message);
        break;
      case "speakers":
        this.emit("speakers", message.participants);
        break;
      case "closing":
        this.#onClosing(message);
        break;
      case "error":
        this.#onError(errorOf(message));
        break;
      default: // newer servers may say more
    }
  }

  /** @param {Message} message */
  #onUnpublished({ participant, publication }) {
    if (participant !== this.#participantId) {
      this.#roster.unpublish(publication);
      return;
    }
    const local = this.#ownById(publication);
    if (local) this.#withdraw(local);
  }

  /** @param {Session} session @param {Message} message */
  #onPublicationUpdated(session, { participant, publication }) {
    if (participant !== this.#participantId) {
      this.#roster.update(publication.id, publication);
      return;
    }
    const local = this.#ownById(publication.id);
    if (!local || local.muted || !publication.muted) return;
    local.muted = true;
    local.track.enabled = false;
    void session.media.replaceTrack(local);
    this.emit("mutedByAdmin", local);
  }

  /** @param {Message} message */
  #onPermissions({ permissions }) {
    const before = this.#permissions ?? permissions;
    this.#permissions = permissions;
    this.emit("permissionsChanged", { before, now: permissions });
  }

  /** @param {string} id */
  #ownById(id) {
    return this.localPublications.find((local) => local.id === id);
  }

  /** @param {Session} session @param {Message} message */
  #onSlot(session, message) {
    const publication = this.#roster.publications.get(message.publication) ?? null;
    session.media.slotAt(message.mid)?.bind({
      publication,
      shownElsewhere: Boolean(publication?.slot),
      number: message.number,
      generation: message.generation,
      rtpTimestamp: message.rtp_timestamp ?? null,
    });
  }

  /** @param {Message} message */
  #onLayer({ publication: id, spatial, temporal }) {
    const publication = this.#roster.publications.get(id);
    if (!publication) return;
    publication.layer = { spatial, temporal };
    this.emit("layer", { publication, spatial, temporal });
  }

  /** @param {Message} message */
  #onPaused({ publication: id, paused, reason }) {
    const publication = this.#roster.publications.get(id);
    if (!publication) return;
    publication.paused = paused ? reason : null;
    this.emit("paused", { publication, reason: publication.paused });
  }

  /** @param {Session} session @param {Message} message */
  #onPublishLayers(session, message) {
    const local = this.#ownById(message.publication);
    if (local) session.media.setActive(local, message.layers, message.backup);
  }

  /** Somebody cannot decode what we send. @param {Session} session @param {Message} message */
  #onPublishBackup(session, { publication, codec }) {
    const local = this.#ownById(publication);
    if (!local || !session.media.addBackup(local, codec)) return;
    session.negotiate().catch((error) => this.#onError(asSfuError(error)));
  }

  /** @param {Message} message */
  #onQuality(message) {
    for (const { id, score } of message.participants) {
      const participant = this.#roster.participants.get(id);
      if (participant) participant.quality = score;
      this.emit("quality", { participantId: id, score });
    }
  }

  /** @param {Message} message */
  #onClosing(message) {
    this.#retryAfterMs = message.retry_after_ms ?? null;
    this.emit("closing", { reason: message.reason, retryAfterMs: this.#retryAfterMs });
    if (this.#retryAfterMs === null) this.#finish(message.reason, null);
  }

  /** @param {SfuError} error */
  #onError(error) {
    if (error.code === "media_lost") {
      void this.replaceConnection();
      return;
    }
    this.emit("error", error);
    // While joining, the join itself fails with it.
    if (error.fatal && this.#state === "connected") this.#finish(error.message, error);
  }

  /**
   * @template {keyof import("./roster.js").RosterEvents} Name
   * @param {Name} name
   * @param {import("./roster.js").RosterEvents[Name]} detail
   */
  #onRoster(name, detail) {
    this.emit(name, /** @type {any} */ (detail));
    if (name === "published") this.#grow();
    if (name !== "unpublished") return;
    const gone = /** @type {Publication} */ (detail);
    this.#wishes.forget(gone.id);
    for (const slot of this.slots) slot.forget(gone);
  }

  /** More pictures than slots: the next step of the pool, by another offer. */
  #grow() {
    const session = this.#live;
    if (!session?.media.reserve(this.#roster.pictures)) return;
    session.negotiate().catch((error) => this.#onError(asSfuError(error)));
  }
}

export const connect = Room.connect;

/** @param {Permissions | null} permissions @param {import("./media.js").Source} source @returns {boolean} */
export function mayPublish(permissions, source) {
  return permissions !== null && permissions.can_publish && (permissions.can_publish_sources?.includes(source) ?? true);
}

/** @param {MediaStream | MediaStreamTrack[]} source */
function tracksOf(source) {
  return Array.isArray(source) ? source : source.getTracks();
}

/** @param {string} url @returns {string} */
function websocketUrl(url) {
  const parsed = new URL(url, globalThis.location?.href);
  parsed.protocol = parsed.protocol.replace(/^http/, "ws");
  if (parsed.pathname === "/") parsed.pathname = "/ws";
  parsed.search = parsed.hash = "";
  return parsed.href;
}

function randomIdentity() {
  return [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {unknown} error @returns {SfuError} */
function asSfuError(error) {
  if (error instanceof SfuError) return error;
  return new SfuError("client", error instanceof Error ? error.message : String(error));
}

/** @param {number} ms @returns {Promise<void>} */
function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

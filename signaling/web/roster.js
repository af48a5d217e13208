// SPDX-License-Identifier: Apache-2.0

/** Who is in the room and what they publish, as the server tells it. */

/** @typedef {import("./slots.js").Slot<Publication>} PublicationSlot */
/** @typedef {import("./signal.js").Message} Message */

/** Something that another participant sends. */
export class Publication {
  /** @type {PublicationSlot | null} where it is played now */
  slot = null;
  /** @type {{spatial: number, temporal: number} | null} what the server forwards of it to us */
  layer = null;
  /** @type {"bandwidth" | "overload" | null} why the server forwards nothing of it, although it is wanted */
  paused = null;

  /** @param {Participant} participant @param {Record<string, any>} described */
  constructor(participant, described) {
    this.participant = participant;
    this.id = /** @type {string} */ (described.id);
    /** Carried by each of its packets as CSRC. */
    this.number = /** @type {number} */ (described.number);
    this.kind = /** @type {"audio" | "video"} */ (described.kind);
    this.source = /** @type {import("./media.js").Source} */ (described.source);
    this.muted = false;
    /** @type {{rid: string, width: number, height: number}[]} lowest first */
    this.layers = [];
    this.update(described);
  }

  get track() {
    return this.slot?.track ?? null;
  }

  /** @param {Record<string, any>} described */
  update(described) {
    this.muted = described.muted ?? this.muted;
    this.layers = described.layers ?? this.layers;
  }
}

export class Participant {
  /** @type {Map<string, Publication>} */
  publications = new Map();
  /** @type {number | null} how good the connection is: 1 (bad) to 5 */
  quality = null;

  name = "";
  metadata = "";
  /** @type {Record<string, string>} */
  attributes = {};

  /** @param {Record<string, any>} described */
  constructor(described) {
    this.id = /** @type {string} */ (described.id);
    this.identity = /** @type {string} */ (described.identity ?? "");
    this.update(described);
  }

  /** @param {Record<string, any>} described @returns {boolean} whether anything is new */
  update(described) {
    const before = JSON.stringify([this.name, this.metadata, this.attributes]);
    this.name = described.name ?? "";
    this.metadata = described.metadata ?? "";
    this.attributes = described.attributes ?? {};
    return before !== JSON.stringify([this.name, this.metadata, this.attributes]);
  }
}

/**
 * @typedef {object} RosterEvents
 * @property {Participant} participantJoined
 * @property {Participant} participantUpdated  another name, other metadata or attributes
 * @property {{participant: Participant, reason: string}} participantLeft
 * @property {Publication} published
 * @property {Publication} unpublished
 * @property {Publication} publicationUpdated
 */

/** The other participants; ours is not among them. */
export class Roster {
  /** @type {Map<string, Participant>} */
  participants = new Map();
  /** @type {Map<string, Publication>} */
  publications = new Map();
  /** @type {<Name extends keyof RosterEvents>(name: Name, detail: RosterEvents[Name]) => void} */
  #emit;

  /** @param {<Name extends keyof RosterEvents>(name: Name, detail: RosterEvents[Name]) => void} emit */
  constructor(emit) {
    this.#emit = emit;
  }

  get pictures() {
    let count = 0;
    for (const publication of this.publications.values()) if (publication.kind === "video") count++;
    return count;
  }

  /**
   * Takes over the list of a join; after a reconnect only the differences are told.
   *
   * @param {Record<string, any>[]} described
   */
  replace(described) {
    const present = new Set(described.map((participant) => participant.id));
    for (const id of [...this.participants.keys()]) if (!present.has(id)) this.leave(id, "gone");
    for (const one of described) this.join(one);
  }

  /** @param {Record<string, any>} described */
  join(described) {
    let participant = this.participants.get(described.id);
    if (!participant) {
      participant = new Participant(described);
      this.participants.set(participant.id, participant);
      this.#emit("participantJoined", participant);
    } else {
      this.updateParticipant(described);
    }
    const publications = /** @type {Record<string, any>[]} */ (described.publications ?? []);
    const present = new Set(publications.map((publication) => publication.id));
    for (const id of [...participant.publications.keys()]) if (!present.has(id)) this.unpublish(id);
    for (const publication of publications) this.publish(participant.id, publication);
  }

  /** @param {Record<string, any>} described */
  updateParticipant(described) {
    const participant = this.participants.get(described.id);
    if (participant?.update(described)) this.#emit("participantUpdated", participant);
  }

  /** @param {string} id @param {string} reason */
  leave(id, reason) {
    const participant = this.participants.get(id);
    if (!participant) return;
    for (const publication of [...participant.publications.keys()]) this.unpublish(publication);
    this.participants.delete(id);
    this.#emit("participantLeft", { participant, reason });
  }

  /** @param {string} participantId @param {Record<string, any>} described */
  publish(participantId, described) {
    const participant = this.participants.get(participantId);
    if (!participant) return;
    const known = this.publications.get(described.id);
    if (known) {
      known.update(described);
      this.#emit("publicationUpdated", known);
      return;
    }
    const publication = new Publication(participant, described);
    participant.publications.set(publication.id, publication);
    this.publications.set(publication.id, publication);
    this.#emit("published", publication);
  }

  /** @param {string} id */
  unpublish(id) {
    const publication = this.publications.get(id);
    if (!publication) return;
    this.publications.delete(id);
    publication.participant.publications.delete(id);
    this.#emit("unpublished", publication);
  }

  /** @param {string} id @param {Record<string, any>} described */
  update(id, described) {
    const publication = this.publications.get(id);
    if (!publication) return;
    publication.update(described);
    this.#emit("publicationUpdated", publication);
  }
}

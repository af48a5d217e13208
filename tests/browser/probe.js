// SPDX-License-Identifier: Apache-2.0
// What the tests ask a page about its call. Evaluated in the page; `room` is the client library's room object.
globalThis.probe = {
  publication(name, source = "camera") {
    return [...room.publications.values()].find((one) => one.participant.name === name && one.source === source);
  },

  /** The statistics of what is received of somebody, or null while nothing is bound or has come. */
  async received(name, source = "camera") {
    const publication = this.publication(name, source);
    if (!publication?.slot) return null;
    const { slot, layer } = publication;
    for (const entry of (await room.getStats()).values()) {
      const belongs = entry.mid === slot.mid || entry.trackIdentifier === slot.track.id;
      if (entry.type === "inbound-rtp" && belongs) return { ...entry, layer };
    }
    return null;
  },

  /** What is sent of a kind, one entry per layer. */
  async sent(kind = "video") {
    return [...(await room.getStats()).values()].filter((entry) => entry.type === "outbound-rtp" && entry.kind === kind);
  },

  /** The pictures that have started, by the name under them. */
  names() {
    return [...document.querySelectorAll(".tile:not(.local)")].map((tile) => tile.querySelector(".name").textContent).sort();
  },

  tile(name) {
    return [...document.querySelectorAll(".tile")].find((tile) => tile.querySelector(".name").textContent === name);
  },

  /** What a tile shows, as 16 × 9 pixels of red, green and blue; empty while there is no picture. */
  picture(name) {
    const video = this.tile(name)?.querySelector("video");
    if (!video || video.readyState < 2 || !video.videoWidth) return [];
    const context = Object.assign(document.createElement("canvas"), { width: 16, height: 9 }).getContext("2d");
    context.drawImage(video, 0, 0, 16, 9);
    return [...context.getImageData(0, 0, 16, 9).data].filter((_, index) => index % 4 < 3);
  },

  /** Sets one of the tile's layer controls as a hand would. */
  choose(name, control, value) {
    const select = this.tile(name).querySelector(`select[name=${control}]`);
    select.value = value;
    select.dispatchEvent(new Event("change"));
  },

  /** Chooses in a list of the page as a hand would. */
  select(id, value) {
    const list = document.getElementById(id);
    list.value = value;
    list.dispatchEvent(new Event("change"));
    return list.value === value;
  },

  async summary() {
    const entries = [...((await room.getStats()) ?? new Map()).values()].filter((entry) => /^(in|out)bound-rtp$/.test(entry.type));
    const fields = ["type", "kind", "mid", "rid", "frameWidth", "framesDecoded", "framesEncoded", "packetsReceived", "packetsSent", "packetsLost",
      "freezeCount", "keyFramesDecoded", "pliCount", "nackCount", "retransmittedPacketsReceived"];
    return {
      state: room.state,
      media: room.mediaState,
      participants: [...room.participants.values()].map((one) => [one.name, [...one.publications.values()].map((p) =>
        `${p.source}${p.muted ? " muted" : ""} in ${p.slot?.mid ?? "no slot"}, layer ${JSON.stringify(p.layer)}`)]),
      streams: entries.map((entry) => Object.fromEntries(fields.filter((field) => field in entry).map((field) => [field, entry[field]]))),
      notices: [...document.querySelectorAll(".notice p")].map((one) => one.textContent),
    };
  },
};

/**
 * Notes of each frame that is shown whose name stands under it: width of the picture → name → frames. The look is taken
 * in the animation frame, when every video callback of this frame has run and before anything is painted.
 */
globalThis.witness = {
  frames: {},

  watch(video) {
    const next = () => video.requestVideoFrameCallback((_now, { width }) => {
      requestAnimationFrame(() => this.note(video, width));
      next();
    });
    next();
  },

  note(video, width) {
    const name = video.closest(".tile")?.querySelector(".name").textContent;
    if (!name) return;
    const names = (this.frames[width] ??= {});
    names[name] = (names[name] ?? 0) + 1;
  },

  watchAll() {
    this.frames = {};
    document.querySelectorAll(".tile:not(.local) video").forEach((video) => this.watch(video));
  },
};

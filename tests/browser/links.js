// SPDX-License-Identifier: Apache-2.0
// Notes when pictures are shown: where they stood still, whatever the browser itself calls a freeze. Evaluated in the page.
globalThis.pictures = {
  shown: new Map(),

  /** From now on, of the tile with that name. */
  watch(name) {
    const video = probe.tile(name).querySelector("video");
    const times = [performance.now()];
    this.shown.set(name, times);
    const next = () => video.requestVideoFrameCallback((now) => {
      if (this.shown.get(name) !== times) return;
      times.push(now);
      next();
    });
    next();
    return true;
  },

  /** Gaps between pictures that are longer than `least_ms`, those that have not ended included; ends the watch. */
  gaps(name, least_ms) {
    const times = [...this.shown.get(name), performance.now()];
    this.shown.delete(name);
    return {
      gaps_ms: times.slice(1).map((time, index) => time - times[index]).filter((gap) => gap > least_ms),
      pictures: times.length - 2,
    };
  },
};

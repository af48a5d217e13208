// SPDX-License-Identifier: Apache-2.0

/**
 * What we want of the publications of others: told as a whole at each change, and again after a reconnect.
 *
 * @typedef {object} Wish
 * @property {number | null} [max_spatial]
 * @property {number | null} [max_temporal]
 * @property {number | null} [max_width]
 * @property {number | null} [max_height]
 * @property {number | null} [max_fps]
 * @property {boolean} [paused]
 * @property {boolean} [selected]
 * @property {string | null} [slot]  mid of the slot in which it is wanted
 */
export class Wishes {
  /** @type {Map<string, Wish>} */
  #wishes = new Map();
  #send;

  /** @param {(publication: string, wish: Wish) => Promise<void>} send */
  constructor(send) {
    this.#send = send;
  }

  /** @param {string} publication @param {Wish} change */
  change(publication, change) {
    const wish = { ...this.#wishes.get(publication), ...change };
    this.#wishes.set(publication, wish);
    return this.#send(publication, wish);
  }

  /** @param {ReadonlyMap<string, unknown>} publications those that there are: wishes for others are forgotten */
  repeat(publications) {
    for (const [publication, wish] of this.#wishes) {
      if (publications.has(publication)) this.#send(publication, wish).catch(() => {});
      else this.#wishes.delete(publication);
    }
  }

  /** @param {string} publication */
  forget(publication) {
    this.#wishes.delete(publication);
  }
}

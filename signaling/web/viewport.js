// SPDX-License-Identifier: Apache-2.0

/** How large things are seen on the page, and whether at all: what is asked of the server follows it. */

/** A change is told when nothing more has changed for so long (ms): what grows is waited for by somebody. */
const GROW_AFTER_MS = 100;
const SHRINK_AFTER_MS = 300;
/** A layer may be enlarged by so much before the next larger one is worth its bits. */
const ENLARGE_BY = 1.25;

/** @typedef {{width: number, height: number, visible: boolean}} View  in device pixels */

/** Watches elements. Each is told of at first, and at each change of its size or visibility. */
export class Viewport {
  /** @type {Map<Element, {key: string, view: View, timer?: ReturnType<typeof setTimeout>}>} */
  #watched = new Map();
  #onChange;
  #resize = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) {
      const scale = globalThis.devicePixelRatio || 1;
      this.#update(target, { width: Math.round(contentRect.width * scale), height: Math.round(contentRect.height * scale) });
    }
  });
  #intersection = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) this.#update(target, { visible: isIntersecting });
  });
  #onVisibility = () => {
    for (const watched of this.#watched.values()) this.#tellLater(watched, document.hidden ? SHRINK_AFTER_MS : 0);
  };

  /** @param {(key: string, view: View) => void} onChange */
  constructor(onChange) {
    this.#onChange = onChange;
    document.addEventListener("visibilitychange", this.#onVisibility);
  }

  /** @param {string} key @param {Element} element */
  watch(key, element) {
    if (this.#watched.has(element)) return;
    this.#watched.set(element, { key, view: { width: 0, height: 0, visible: true } });
    this.#resize.observe(element);
    this.#intersection.observe(element);
  }

  /** @param {Element} element */
  forget(element) {
    clearTimeout(this.#watched.get(element)?.timer);
    this.#watched.delete(element);
    this.#resize.unobserve(element);
    this.#intersection.unobserve(element);
  }

  /** @param {Element} element @returns {View | undefined} */
  viewOf(element) {
    const view = this.#watched.get(element)?.view;
    return view && view.width > 0 ? { ...view, visible: view.visible && !document.hidden } : undefined;
  }

  close() {
    document.removeEventListener("visibilitychange", this.#onVisibility);
    for (const element of [...this.#watched.keys()]) this.forget(element);
    this.#resize.disconnect();
    this.#intersection.disconnect();
  }

  /** @param {Element} element @param {Partial<View>} change */
  #update(element, change) {
    const watched = this.#watched.get(element);
    if (!watched) return;
    const before = watched.view;
    const view = (watched.view = { ...before, ...change });
    const grows = (view.visible && !before.visible) || view.width > before.width || view.height > before.height;
    this.#tellLater(watched, grows ? GROW_AFTER_MS : SHRINK_AFTER_MS);
  }

  /** @param {{key: string, view: View, timer?: ReturnType<typeof setTimeout>}} watched @param {number} afterMs */
  #tellLater(watched, afterMs) {
    clearTimeout(watched.timer);
    watched.timer = setTimeout(() => {
      const visible = watched.view.visible && !document.hidden;
      if (watched.view.width > 0) this.#onChange(watched.key, { ...watched.view, visible });
    }, afterMs);
  }
}

/**
 * The smallest of the layers that looks well at that size; null where only the largest will do.
 *
 * @param {readonly {width: number, height: number}[]} layers  lowest first
 * @param {{width: number, height: number}} size
 * @returns {{width: number, height: number} | null}
 */
export function layerFor(layers, { width, height }) {
  const enough = layers.find((layer) => layer.width * ENLARGE_BY >= width && layer.height * ENLARGE_BY >= height);
  const largest = layers.at(-1);
  if (!enough || enough === largest || !enough.width || !enough.height) return null;
  return { width: enough.width, height: enough.height };
}

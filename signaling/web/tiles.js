// SPDX-License-Identifier: Apache-2.0

import { icon } from "./icons.js";

/** @typedef {import("./client.js").Publication} Publication */

const SHAPE = 16 / 9;
const GAP_PX = 8;
const LAYER_NAMES = [["High"], ["Low", "High"], ["Low", "Mid", "High"]];
const TEMPORAL_LAYERS = 3;
const BEST_QUALITY = 5;
const QUALITY_WORDS = ["", "bad", "poor", "fair", "good", "excellent"];
const PAUSE_WORDS = { bandwidth: "Paused: your connection cannot carry it", overload: "Paused: the server is busy" };

/** One picture with its name: a participant's camera (or none), or a shared screen. */
export class Tile {
  element = element("article", "tile");
  #picture = element("div", "picture");
  #avatar = element("div", "avatar");
  #name = element("span", "name");
  #muted = element("span", "muted");
  #figures = element("pre", "figures");
  #pause = element("p", "pause");
  #quality = element("span", "quality");
  #menu = element("details", "menu");
  #offered = "";
  #local;

  /** @param {string} key @param {string} name @param {{local?: boolean}} [options] */
  constructor(key, name, { local = false } = {}) {
    this.element.dataset.key = key;
    this.element.classList.toggle("local", local);
    const caption = element("footer", "caption");
    this.#muted.append(icon("microphoneOff"));
    this.#muted.title = "Muted";
    caption.append(this.#name, this.#muted, this.#quality);
    this.#quality.append(...Array.from({ length: BEST_QUALITY }, () => element("i", "")));
    this.setQuality(null);
    this.setPaused(null);
    this.#menu.hidden = true;
    this.element.append(this.#avatar, this.#picture, this.#pause, this.#figures, this.#menu, caption);
    this.#local = local;
    this.setName(name);
    this.showPicture(null);
    this.setMicrophone(true);
    this.setFigures([]);
  }

  /** @param {string} name */
  setName(name) {
    this.#name.textContent = this.#local ? `${name} (you)` : name;
    this.#avatar.textContent = initials(name);
    this.element.setAttribute("aria-label", name);
  }

  get picture() {
    return /** @type {HTMLMediaElement | null} */ (this.#picture.firstElementChild);
  }

  /** @param {HTMLMediaElement | null} video */
  showPicture(video) {
    if (video === this.picture && video !== null) return;
    this.#picture.replaceChildren(...(video ? [video] : []));
    this.element.classList.toggle("empty", video === null);
  }

  /** @param {boolean} on */
  setMicrophone(on) {
    this.#muted.hidden = on;
  }

  /** @param {number | null} score  of the connection, 1 to 5; null: not known yet */
  setQuality(score) {
    this.#quality.hidden = score === null;
    this.#quality.dataset.score = String(score ?? "");
    this.#quality.title = `Connection: ${QUALITY_WORDS[score ?? 0]}`;
    [...this.#quality.children].forEach((bar, index) => bar.classList.toggle("on", index < (score ?? 0)));
  }

  /** @param {"bandwidth" | "overload" | null} reason  why its picture stands still */
  setPaused(reason) {
    this.element.classList.toggle("paused", reason !== null);
    this.#pause.hidden = reason === null;
    this.#pause.textContent = reason && PAUSE_WORDS[reason];
  }

  /** @param {boolean} speaking */
  setSpeaking(speaking) {
    this.element.classList.toggle("speaking", speaking);
  }

  /** @param {string[]} lines */
  setFigures(lines) {
    this.#figures.textContent = lines.join("\n");
    this.#figures.hidden = lines.length === 0;
  }

  /**
   * The control that forces a layer.
   *
   * @param {Publication} publication
   * @param {(layer: {spatial: number | null, temporal: number | null}) => void} choose
   */
  offerLayers(publication, choose) {
    const offer = `${publication.id} ${publication.layers.length}`;
    this.#menu.hidden = false;
    if (offer === this.#offered) return;
    this.#offered = offer;
    const names = LAYER_NAMES[publication.layers.length - 1] ?? publication.layers.map((layer) => `${layer.width}×${layer.height}`);
    const spatial = select("Picture", ["Auto", ...names].map((name, index) => [name, index === 0 ? "" : String(index - 1)]), "spatial");
    const rates = Array.from({ length: TEMPORAL_LAYERS }, (_, temporal) => [`T${temporal}`, String(temporal)]);
    const temporal = select("Frame rate", [["Auto", ""], ...rates], "temporal");
    const changed = () => choose({ spatial: chosen(spatial), temporal: chosen(temporal) });
    for (const control of [spatial, temporal]) control.addEventListener("change", changed);
    const summary = element("summary", "");
    summary.append(icon("tune"));
    summary.title = "Choose the layer";
    this.#menu.replaceChildren(summary, spatial, temporal);
  }

  withdrawLayers() {
    this.#menu.hidden = true;
    this.#menu.open = false;
  }
}

/** Tiles in a grid whose columns make them as large as the window allows. */
export class Grid {
  #container;
  /** @type {Map<string, Tile>} */
  #tiles = new Map();

  /** @param {HTMLElement} container */
  constructor(container) {
    this.#container = container;
    new ResizeObserver(() => this.#arrange()).observe(container);
  }

  /** @param {string} key @param {Tile} tile */
  add(key, tile) {
    this.#tiles.set(key, tile);
    this.#container.append(tile.element);
    this.#arrange();
  }

  /** @param {string} key */
  get(key) {
    return this.#tiles.get(key);
  }

  /** @param {string} key */
  remove(key) {
    this.#tiles.get(key)?.element.remove();
    this.#tiles.delete(key);
    this.#arrange();
  }

  clear() {
    for (const key of [...this.#tiles.keys()]) this.remove(key);
  }

  get tiles() {
    return /** @type {ReadonlyMap<string, Tile>} */ (this.#tiles);
  }

  #arrange() {
    const { clientWidth: width, clientHeight: height } = this.#container;
    const columns = bestColumns(this.#tiles.size, width, height);
    this.#container.style.setProperty("--columns", String(columns));
    this.#container.style.setProperty("--tile-width", `${Math.floor(tileWidth(this.#tiles.size, columns, width, height))}px`);
  }
}

/** @param {number} count @param {number} width @param {number} height @returns {number} */
export function bestColumns(count, width, height) {
  let best = 1;
  for (let columns = 2; columns <= count; columns++) {
    if (tileWidth(count, columns, width, height) > tileWidth(count, best, width, height)) best = columns;
  }
  return best;
}

/** @param {number} count @param {number} columns @param {number} width @param {number} height @returns {number} */
function tileWidth(count, columns, width, height) {
  const rows = Math.ceil(count / columns);
  const byWidth = (width - GAP_PX * (columns - 1)) / columns;
  const byHeight = ((height - GAP_PX * (rows - 1)) / rows) * SHAPE;
  return Math.max(0, Math.min(byWidth, byHeight));
}

/** @param {string} name @returns {string} */
function initials(name) {
  const words = name.trim().split(/\s+/).filter(Boolean);
  return words.slice(0, 2).map((word) => [...word][0]?.toUpperCase() ?? "").join("") || "?";
}

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {string} className
 * @returns {HTMLElementTagNameMap[Tag]}
 */
function element(tag, className) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  return made;
}

/** @param {string} label @param {string[][]} choices  [text, value] @param {string} name @returns {HTMLSelectElement} */
function select(label, choices, name) {
  const made = element("select", "");
  made.name = name;
  made.title = label;
  made.setAttribute("aria-label", label);
  made.append(...choices.map(([text, value]) => new Option(text, value)));
  return made;
}

/** @param {HTMLSelectElement} control */
function chosen(control) {
  return control.value === "" ? null : Number(control.value);
}

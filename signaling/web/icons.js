// SPDX-License-Identifier: Apache-2.0

/** Outline icons on a 24×24 grid, drawn with the text's colour. */
const PATHS = {
  microphone: "M12 3a3 3 0 0 0-3 3v6a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3ZM5 11a7 7 0 0 0 14 0M12 18v3",
  microphoneOff: "M9 9V6a3 3 0 0 1 6 0v5M15 14.5A3 3 0 0 1 9 12M5 11a7 7 0 0 0 11.5 5.3M19 11a7 7 0 0 1-.4 2.3M12 18v3M4 4l16 16",
  camera: "M4 7h9a2 2 0 0 1 2 2v6a2 2 0 0 1-2 2H4a2 2 0 0 1-2-2V9a2 2 0 0 1 2-2ZM15 11l6-4v10l-6-4",
  cameraOff: "M8 7h5a2 2 0 0 1 2 2v5M15 15.5A2 2 0 0 1 13 17H4a2 2 0 0 1-2-2V9a2 2 0 0 1 1.5-1.9M15 11l6-4v10l-4-2.7M3 3l18 18",
  devices: "M12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6ZM12 3v3M12 18v3M3 12h3M18 12h3M5.6 5.6l2.2 2.2M16.2 16.2l2.2 2.2M5.6 18.4l2.2-2.2M16.2 7.8l2.2-2.2",
  close: "M6 6l12 12M18 6L6 18",
  statistics: "M4 20V10M10 20V4M16 20v-7M22 20H2",
  leave: "M3 14c0-2 4-5 9-5s9 3 9 5v2l-5 1v-4a12 12 0 0 0-8 0v4l-5-1Z",
  tune: "M4 7h10M18 7h2M4 17h2M10 17h10M14 7a2 2 0 1 0 4 0 2 2 0 0 0-4 0ZM6 17a2 2 0 1 0 4 0 2 2 0 0 0-4 0Z",
};

const SVG = "http://www.w3.org/2000/svg";

/** @param {keyof typeof PATHS} name @returns {SVGElement} */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("icon");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

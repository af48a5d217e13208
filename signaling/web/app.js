// SPDX-License-Identifier: Apache-2.0

/** The page: a form, and the call behind it. What a query parameter may say is in `readParameters`. */

import { Call } from "./call.js";
import { icon } from "./icons.js";
import { Lobby } from "./lobby.js";

/**
 * `/?room=R&name=N&autojoin=1` joins at once. For tests and demonstrations: codec, svc, width, height, fps, layers, simulcast=0,
 * video=0, audio=0, publish=0 (only watch), identity, token, statistics=1, adapt=0 (all pictures in full, seen or not).
 * `#e2ee=PASSPHRASE` encrypts end to end: browsers keep what follows the # to themselves.
 */
function readParameters() {
  const query = new URLSearchParams(location.search);
  const number = (/** @type {string} */ name) => (query.has(name) ? Number(query.get(name)) : undefined);
  const not = (/** @type {string} */ name) => query.get(name) === "0";
  return {
    room: query.get("room") ?? "",
    name: query.get("name") ?? "",
    identity: query.get("identity") ?? undefined,
    token: query.get("token") ?? undefined,
    passphrase: new URLSearchParams(location.hash.slice(1)).get("e2ee") ?? "",
    autojoin: query.get("autojoin") === "1",
    statistics: query.get("statistics") === "1",
    adapt: !not("adapt"),
    publish: {
      codec: /** @type {import("./media.js").PublishOptions["codec"]} */ (query.get("codec") ?? undefined),
      scalabilityMode: query.get("svc") ?? undefined,
      layers: number("layers"),
      simulcast: !not("simulcast"),
    },
    capture: {
      audio: !not("audio") && !not("publish"),
      video: !not("video") && !not("publish"),
      width: number("width"),
      height: number("height"),
      fps: number("fps"),
    },
  };
}

const parameters = readParameters();
const lobby = /** @type {HTMLElement} */ (document.getElementById("lobby"));
const form = /** @type {HTMLFormElement} */ (document.getElementById("join-form"));
const view = /** @type {HTMLElement} */ (document.getElementById("call"));

const chooser = new Lobby(form, parameters.capture);

/** @param {string} text @param {{label: string, act: () => void}} [action] a way on; it can be put away without, too */
function notify(text, action) {
  const notice = document.createElement("div");
  const words = document.createElement("p");
  notice.className = "notice";
  words.textContent = text;
  notice.append(words);
  const addButton = (/** @type {string} */ label, act = () => {}) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(label);
    button.addEventListener("click", () => {
      notice.remove();
      act();
    });
    notice.append(button);
    return button;
  };
  if (action) addButton(action.label, action.act);
  const close = addButton("");
  close.className = "close";
  close.setAttribute("aria-label", "Put away");
  close.append(icon("close"));
  document.getElementById("notices")?.append(notice);
}

/**
 * The address may bring a token. Otherwise a development server gives one out, at each join and return; one that does not
 * will say itself whether it needs any.
 *
 * @type {import("./client.js").TokenSource}
 */
async function tokenFor({ room, name, identity }) {
  if (parameters.token) return parameters.token;
  const answer = await fetch(`token?${new URLSearchParams({ room, name, ...(identity ? { identity } : {}) })}`);
  return answer.ok ? (await answer.json()).token : undefined;
}

async function join() {
  const submit = /** @type {HTMLButtonElement} */ (form.querySelector("button[type=submit]"));
  submit.disabled = true;
  const room = chooser.field("room").value.trim();
  const name = chooser.field("name").value.trim();
  const passphrase = chooser.field("passphrase").value;
  const { wish } = chooser;
  const { tracks, problems } = await chooser.take();
  try {
    const call = await Call.start({
      view,
      notify,
      onEnd: showLobby,
      capture: wish,
      statistics: parameters.statistics,
      adapt: parameters.adapt,
      connect: { room, name, identity: parameters.identity, token: tokenFor, stream: tracks, publish: parameters.publish, passphrase },
    });
    call.explain(problems);
    lobby.hidden = true;
    view.hidden = false;
    document.title = `${room} · pysfu`;
    history.replaceState(null, "", roomAddress(room));
  } catch (error) {
    tracks.forEach((track) => track.stop());
    notify(wordsOf(error));
  } finally {
    submit.disabled = false;
  }
}

function showLobby() {
  view.hidden = true;
  lobby.hidden = false;
  document.title = "pysfu";
}

/** The address to share keeps the parameters that are there. @param {string} room */
function roomAddress(room) {
  const query = new URLSearchParams(location.search);
  query.set("room", room);
  return `?${query}${location.hash}`;
}

/** @param {unknown} error @returns {string} */
function wordsOf(error) {
  const { message, advice } = /** @type {{message?: string, advice?: string}} */ (error ?? {});
  return [message ?? String(error), advice].filter(Boolean).join(" ");
}

chooser.field("room").value = parameters.room;
chooser.field("name").value = parameters.name;
chooser.field("passphrase").value = parameters.passphrase;
/** @type {HTMLDetailsElement} */ (document.getElementById("encryption")).open = parameters.passphrase !== "";
form.addEventListener("submit", (event) => {
  event.preventDefault();
  void join();
});
if (parameters.autojoin && parameters.room && parameters.name) void join();
else chooser.field(parameters.room ? "name" : "room").focus();

"use strict";

// How the pages speak to the server that they come from.

const byId = (id) => document.getElementById(id);

class Refusal extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

let token = "";

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  let answer;
  try {
    answer = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
  } catch {
    throw new Refusal(0, "The server doesn't answer.");
  }
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  throw new Refusal(answer.status, body.error ?? `The server answered with status ${answer.status}.`);
}

function say(sentence) {
  byId("notice").hidden = !sentence;
  byId("notice").textContent = sentence;
}

// Ask for a token; `again` is what needed it.
function askForToken(again) {
  const form = byId("key");
  form.hidden = false;
  form.onsubmit = (event) => {
    event.preventDefault();
    token = byId("token").value.trim();
    byId("token").value = "";
    form.hidden = true;
    say("");
    document.querySelector("main").focus();
    again();
  };
  byId("token").focus();
}

const whenUnauthorized = () =>
  token ? "This token isn't the one that the server requires." : "The server requires a bearer token.";

"use strict";
// The query is an item, which the URL names, or an upload, which the history's state names: so that
// Back works.
const at = (id) => document.getElementById(id);
let about = { items: 0, labels: [], threshold: null };
const uploads = new Map();
let asked = 0;

function say(text, fault = false) {
  at("status").textContent = text;
  at("status").classList.toggle("fault", fault);
}

async function call(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The service does not answer.");
  }
  const body = await response.json().catch(() => ({}));
  if (response.status === 401) lock();
  if (!response.ok) {
    const detail = Array.isArray(body.detail) ? body.detail[0].msg : body.detail;
    const error = new Error(detail || `The service answered ${response.status}.`);
    throw Object.assign(error, { ofFile: [413, 415].includes(response.status) });
  }
  return body;
}

function lock() {
  at("login").hidden = false;
  at("query").hidden = true;
  at("login").elements.token.select();
}

function filter() {
  const parts = [];
  if (at("label").value) parts.push(`label == ${JSON.stringify(at("label").value)}`);
  if (at("where").value.trim()) parts.push(`(${at("where").value.trim()})`);
  return parts.join(" and ");
}

async function search() {
  const id = new URLSearchParams(location.search).get("id");
  const file = id === null && uploads.get(history.state);
  if (id === null && !file) {
    asked += 1;
    clear();
    say(about.items ? "" : "This index is empty.");
    return;
  }
  if (!at("query").reportValidity()) return;
  const turn = ++asked;
  const wanted = new URLSearchParams({ k: at("k").value || 24, crop: true });
  if (filter()) wanted.set("where", filter());
  say("Searching …");
  try {
    let found;
    if (file) {
      const body = new FormData();
      body.append("image", file);
      found = await call(`/search?${wanted}`, { method: "POST", body });
    } else {
      wanted.set("id", id);
      found = await call(`/search?${wanted}`);
    }
    if (turn === asked) show(found, file ? fileName(file) : id);
  } catch (error) {
    if (turn !== asked) return;
    clear();
    const text = error.message;
    say(file && error.ofFile ? `Can't search by ${fileName(file)}: ${text}` : text, true);
  }
}

function fileName(file) {
  return file.name || "the pasted image";
}

function clear() {
  at("results").replaceChildren();
  at("seen").hidden = true;
}

function show(found, name) {
  at("seen").hidden = !found.crop;
  if (found.crop) at("seen").querySelector("img").src = found.crop;
  at("seen").querySelector("figcaption").textContent = name;
  const kept = found.results.filter((one) => !at("same").checked || one.same);
  at("results").replaceChildren(...kept.map(card));
  say(kept.length ? `${kept.length} found in ${Math.round(1000 * found.seconds)} ms`
    : about.items ? "Nothing matches." : "This index is empty.");
}

function card(one) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  const picture = document.createElement("span");
  picture.className = "picture";
  const image = document.createElement("img");
  image.loading = "lazy";
  image.alt = "";
  image.src = `/images/${one.id.split("/").map(encodeURIComponent).join("/")}`;
  image.addEventListener("error", () => image.remove());
  picture.append(image);
  const verdict = { true: "same", false: "different" }[one.same] || "";
  const score = text("b", one.similarity.toFixed(3), one.same ? "same" : "other");
  score.textContent += verdict && ` ${verdict}`;
  const rest = Object.entries(one).filter(([key, value]) =>
    !["id", "similarity", "same", "label", "split"].includes(key) && value !== null);
  button.append(picture, score, text("span", one.label || "", "name"),
    text("span", rest.map(([key, value]) => `${key}: ${value}`).join(", "), "id"),
    text("span", one.id, "id"));
  button.title = "Search for more like this";
  button.type = "button";
  button.addEventListener("click", () => go(one.id));
  item.append(button);
  return item;
}

function text(tag, content, name) {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = content;
  return element;
}

function go(id) {
  history.pushState(null, "", `/?id=${encodeURIComponent(id)}`);
  at("status").focus();  // from here, Tab reaches the first of the new results
  scrollTo({ top: 0 });
  search();
}

function take(files) {
  const image = files[0];
  if (!image) return;
  if (image.size > about.most_bytes) {
    say(`Can't search by ${fileName(image)}: it has more than ${about.most_bytes / 2 ** 20} MiB.`, true);
    return;
  }
  const name = Date.now();
  uploads.set(name, image);
  history.pushState(name, "", "/");
  search();
}

async function open() {
  try {
    about = await call("/about");
  } catch (error) {
    say(error.message, at("login").hidden);
    return;
  }
  at("login").hidden = true;
  at("query").hidden = false;
  at("about").textContent = `${about.items.toLocaleString("en")} images`;
  at("same-choice").hidden = about.threshold === null;
  at("same-choice").querySelector("span").textContent =
    `only the same (from ${about.threshold?.toFixed(3)})`;
  at("label").length = 1;
  at("label").append(...about.labels.map((label) => new Option(label)));
  search();
}

at("file").addEventListener("change", (event) => {
  take(event.target.files);
  event.target.value = "";  // so that the same file can be picked again
});
addEventListener("paste", (event) => take(event.clipboardData.files));
addEventListener("popstate", search);
addEventListener("dragover", (event) => { event.preventDefault(); at("drop").classList.add("over"); });
addEventListener("dragleave", () => at("drop").classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  if (!event.dataTransfer.files.length) say("Only files can be dropped here.", true);
  take(event.dataTransfer.files);
});
at("query").addEventListener("submit", (event) => { event.preventDefault(); search(); });
for (const id of ["label", "where", "k", "same"]) at(id).addEventListener("change", search);
at("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = new FormData(event.target).get("token");
  try {
    await call("/login", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token }),
    });
    event.target.reset();
    open();
  } catch (error) {
    say(error.message, true);
  }
});
open();

"use strict";
// The address holds the state of the search: an item's id, the filter and how many; without an id,
// images of the index are shown. An upload can't be in an address: the history's state names it, so
// that Back works.
const at = (id) => document.getElementById(id);
let about = { items: 0, labels: [], threshold: null };
const uploads = new Map();
const DEFAULT_COUNT = 24;
let turn = 0;  // of the latest search

function showStatus(text, isError = false) {
  at("status").textContent = text;
  at("status").classList.toggle("error", isError);
}

async function call(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The service does not respond.");
  }
  const body = await response.json().catch(() => ({}));
  if (response.status === 401) requireToken();
  if (!response.ok) {
    const detail = Array.isArray(body.detail) ? body.detail[0].msg : body.detail;
    const error = new Error(detail || `The service responded with status ${response.status}.`);
    throw Object.assign(error, {
      ofFile: [413, 415].includes(response.status), ofFilter: response.status === 400,
    });
  }
  return body;
}

function requireToken() {
  at("login").hidden = false;
  at("query").hidden = true;
  at("login").elements.token.select();
}

function filter() {
  const label = at("label").value && `label == ${JSON.stringify(at("label").value)}`;
  const where = at("where").value.trim();
  return label && where ? `${label} and (${where})` : label || where;
}

function resultCount() {
  return Number(at("k").value) || DEFAULT_COUNT;
}

// Sets the controls to the state in the address.
function readAddress() {
  const state = new URLSearchParams(location.search);
  const label = state.get("label") || "";
  if (![...at("label").options].some((one) => one.value === label)) {
    at("label").append(new Option(label));
  }
  at("label").value = label;
  at("where").value = state.get("where") || "";
  at("k").value = state.get("k") || DEFAULT_COUNT;
  at("same").checked = state.has("same");
}

// Navigates to an item, to an upload (a key of `uploads`), or to another sample of images.
function go({ id = null, upload = null, draw = 0 } = {}) {
  const state = new URLSearchParams();
  if (id !== null) state.set("id", id);
  if (at("label").value) state.set("label", at("label").value);
  if (at("where").value.trim()) state.set("where", at("where").value.trim());
  if (resultCount() !== DEFAULT_COUNT) state.set("k", resultCount());
  if (at("same").checked) state.set("same", "1");
  if (draw) state.set("draw", draw);
  const address = `/${state.size ? "?" : ""}${state}`;
  const now = location.pathname + location.search;
  if (address !== now || upload !== history.state) history.pushState(upload, "", address);
  search();
}

function query() {
  const state = new URLSearchParams(location.search);
  const upload = state.has("id") || !uploads.has(history.state) ? null : history.state;
  return { id: state.get("id"), upload, draw: Number(state.get("draw")) || 0 };
}

// Searches for the same query with other options.
function change() {
  if (at("query").reportValidity()) go(query());
}

async function search() {
  const { id, upload, draw } = query();
  const file = uploads.get(upload);
  const browses = id === null && !file;
  at("same").disabled = browses;
  if (!at("query").reportValidity()) return;
  const own = ++turn;
  const parameters = new URLSearchParams(filter() ? { where: filter() } : {});
  showFilterError("");
  showStatus(browses ? "" : "Searching …");
  try {
    let found;
    if (browses) {
      parameters.set("limit", resultCount());
      parameters.set("seed", draw);
      found = await call(`/samples?${parameters}`);
    } else {
      parameters.set("k", resultCount());
      parameters.set("crop", true);
      if (file) {
        const body = new FormData();
        body.append("image", file);
        found = await call(`/search?${parameters}`, { method: "POST", body });
      } else {
        parameters.set("id", id);
        found = await call(`/search?${parameters}`);
      }
    }
    if (own !== turn) return;
    if (browses) browse(found);
    else show(found, file ? fileName(file) : id);
  } catch (error) {
    if (own !== turn) return;
    clear();
    const text = error.message;
    if (error.ofFilter && at("where").value.trim()) {
      showStatus("");
      showFilterError(text);
    } else showStatus(file && error.ofFile ? `Can't search by ${fileName(file)}: ${text}` : text, true);
  }
}

// Shows what is wrong with the filter, next to it.
function showFilterError(text) {
  at("where-error").textContent = text;
  at("where-error").hidden = !text;
  at("where").setAttribute("aria-invalid", Boolean(text));
}

function fileName(file) {
  return file.name || "the pasted image";
}

function clear() {
  at("results").replaceChildren();
  at("seen").hidden = true;
  at("others").hidden = true;
}

function browse({ items, total }) {
  clear();
  at("results").replaceChildren(...items.map(card));
  at("others").hidden = items.length === total;
  const all = items.length === total ? "All" : `${items.length} of`;
  showStatus(items.length ? `${all} ${total.toLocaleString("en")} images. Choose one to search.`
    : nothing());
}

function nothing() {
  return about.items ? "Nothing matches." : "This index is empty.";
}

function show(found, name) {
  at("seen").hidden = !found.crop;
  if (found.crop) at("seen").querySelector("img").src = found.crop;
  at("seen").querySelector("figcaption").textContent = name;
  const kept = found.results.filter((one) => !at("same").checked || one.same);
  at("others").hidden = true;
  at("results").replaceChildren(...kept.map(card));
  showStatus(kept.length ? `${kept.length} found in ${Math.round(1000 * found.seconds)} ms` : nothing());
}

function card(one) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  const picture = document.createElement("span");
  picture.className = "picture";
  const image = document.createElement("img");
  image.loading = "lazy";
  image.alt = "";
  image.src = `/image?id=${encodeURIComponent(one.id)}`;
  image.addEventListener("error", () => image.remove());
  picture.append(image);
  button.append(picture);
  if ("similarity" in one) {
    const verdict = { true: " same", false: " different" }[one.same] || "";
    button.append(text("b", one.similarity.toFixed(3) + verdict, one.same ? "same" : "other"));
  }
  const rest = Object.entries(one).filter(([key, value]) =>
    !["id", "similarity", "same", "label", "split"].includes(key) && value !== null);
  button.append(text("span", one.label || "", "name"),
    text("span", rest.map(([key, value]) => `${key}: ${value}`).join(", "), "id"),
    text("span", one.id, "id"));
  button.title = "Search for more like this";
  button.type = "button";
  button.addEventListener("click", () => {
    go({ id: one.id });
    at("status").focus();  // from here, Tab reaches the first of the new results
    scrollTo({ top: 0 });
  });
  item.append(button);
  return item;
}

function text(tag, content, name) {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = content;
  return element;
}

function searchByFile(files) {
  const image = files[0];
  if (!image) return;
  if (image.size > about.max_upload_bytes) {
    showStatus(`Can't search by ${fileName(image)}: it is larger than ${about.max_upload_bytes / 2 ** 20} MiB.`, true);
    return;
  }
  const name = Date.now();
  uploads.set(name, image);
  go({ upload: name });
}

async function open() {
  try {
    about = await call("/about");
  } catch (error) {
    showStatus(error.message, at("login").hidden);
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
  readAddress();
  search();
}

at("file").addEventListener("change", (event) => {
  searchByFile(event.target.files);
  event.target.value = "";  // so that the same file can be picked again
});
addEventListener("paste", (event) => searchByFile(event.clipboardData.files));
addEventListener("popstate", () => { readAddress(); search(); });
addEventListener("dragover", (event) => { event.preventDefault(); at("drop").classList.add("over"); });
addEventListener("dragleave", () => at("drop").classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  if (!event.dataTransfer.files.length) showStatus("Only files can be dropped here.", true);
  searchByFile(event.dataTransfer.files);
});
at("query").addEventListener("submit", (event) => { event.preventDefault(); change(); });
for (const id of ["label", "where", "k", "same"]) at(id).addEventListener("change", change);
at("others").addEventListener("click", () => go({ draw: query().draw + 1 }));
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
    showStatus(error.message, true);
  }
});
open();

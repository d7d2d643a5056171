// The viewer of /openapi.json. Text from the document only ever becomes text
// nodes, so nothing in it can be markup.
"use strict";

const methods = ["get", "post", "put", "patch", "delete"];
let doc;

function el(tag, attrs, ...children) {
  const node = document.createElement(tag);
  for (const [k, v] of Object.entries(attrs || {})) {
    if (k.startsWith("on")) node.addEventListener(k.slice(2), v);
    else if (v !== undefined && v !== false) node.setAttribute(k, v === true ? "" : v);
  }
  node.append(...children.filter((c) => c !== null && c !== undefined));
  return node;
}

// prose turns `code` in a description into code elements.
function prose(text) {
  return (text || "").split("`").map((part, i) => (i % 2 ? el("code", {}, part) : part));
}

function deref(schema) {
  for (let hops = 0; schema && schema.$ref && hops < 8; hops++) {
    schema = schema.$ref.split("/").slice(1).reduce((at, name) => at && at[name], doc);
  }
  return schema || {};
}

function typeName(schema) {
  const s = deref(schema);
  const types = [].concat(s.type || "any");
  const names = types.map((t) => (t === "array" ? "array of " + typeName(s.items || {}) : t));
  return names.join(" or ") + (s.format ? " (" + s.format + ")" : "");
}

function rules(s) {
  const out = [];
  if (s.enum) out.push("one of " + s.enum.join(", "));
  if (s.minLength !== undefined || s.maxLength !== undefined) out.push(`${s.minLength || 0}–${s.maxLength === undefined ? "∞" : s.maxLength} characters`);
  if (s.minItems !== undefined || s.maxItems !== undefined) out.push(`${s.minItems || 0}–${s.maxItems === undefined ? "∞" : s.maxItems} entries`);
  if (s.minimum !== undefined) out.push("≥ " + s.minimum);
  if (s.maximum !== undefined) out.push("≤ " + s.maximum);
  if (s.pattern) out.push("matches " + s.pattern);
  if (s.default !== undefined) out.push("default " + JSON.stringify(s.default));
  return out.join(" · ");
}

function field(name, schema, required, depth, text) {
  const s = deref(schema);
  const about = text || schema.description || s.description;
  return el("li", {},
    el("span", { class: "name" }, name), el("span", { class: "type" }, typeName(schema)),
    required ? el("span", { class: "must" }, "required") : null,
    rules(s) ? el("span", { class: "rule" }, rules(s)) : null,
    about ? el("p", {}, ...prose(about)) : null,
    fields(schema, depth + 1));
}

function fields(schema, depth) {
  let s = deref(schema);
  while (s.type === "array" || (Array.isArray(s.type) && s.type.includes("array"))) s = deref(s.items);
  const names = Object.keys(s.properties || {});
  if (!names.length || depth > 5) return null;
  return el("ul", { class: "fields" }, ...names.map((n) => field(n, s.properties[n], (s.required || []).includes(n), depth)));
}

function example(media) {
  if (!media || media.example === undefined) return null;
  return el("pre", {}, el("code", {}, JSON.stringify(media.example, null, 2)));
}

function parametersOf(op) {
  const list = op.parameters || [];
  if (!list.length) return [];
  return [el("h3", {}, "Parameters"), el("ul", { class: "fields" },
    ...list.map((p) => field(`${p.name}`, p.schema || {}, p.required, 5, [`In the ${p.in}.`, p.description].filter(Boolean).join(" "))))];
}

function responsesOf(op) {
  const rows = [];
  for (const [status, response] of Object.entries(op.responses || {})) {
    const codes = response["x-codes"];
    if (codes) {
      const links = codes.flatMap((c, i) => [i ? ", " : "", el("a", { href: "/errors/" + c }, el("code", {}, c))]);
      rows.push(el("tr", {}, el("td", {}, status), el("td", {}, ...links)));
    } else {
      const media = (response.content || {})["application/json"];
      rows.push(el("tr", {}, el("td", {}, el("strong", {}, status)),
        el("td", {}, response.description || "", media ? fields(media.schema, 0) : null, example(media))));
    }
  }
  return [el("h3", {}, "Answers"), el("div", { class: "scroll" }, el("table", {}, el("tbody", {}, ...rows)))];
}

// tryIt offers to send the request. Only GET: looking changes nothing.
function tryIt(method, path, op) {
  if (method !== "get" || path.endsWith("/ws")) return [];
  const inputs = (op.parameters || []).filter((p) => p.in !== "header").map((p) => ({ p, input: el("input", { "aria-label": p.name }) }));
  const out = el("pre", { hidden: true }, el("code", {}));
  const send = async () => {
    let url = path;
    const query = new URLSearchParams();
    for (const { p, input } of inputs) {
      if (p.in === "path") url = url.replace("{" + p.name + "}", encodeURIComponent(input.value));
      else if (input.value) query.set(p.name, input.value);
    }
    if ([...query].length) url += "?" + query;
    const bearer = document.getElementById("bearer").value.trim();
    out.hidden = false;
    try {
      const answer = await fetch(url, { headers: bearer ? { Authorization: "Bearer " + bearer } : {} });
      const text = await answer.text();
      let shown = text;
      try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* no JSON: shown as it is */ }
      out.firstChild.textContent = `${answer.status} ${answer.statusText}\nX-Correlation-ID: ${answer.headers.get("X-Correlation-ID")}\n\n${shown}`;
    } catch (err) {
      out.firstChild.textContent = String(err);
    }
  };
  return [el("h3", {}, "Try it"), el("div", { class: "try" },
    el("div", { class: "row" }, ...inputs.map(({ p, input }) => el("label", {}, p.name, input)), el("button", { type: "button", class: "primary", onclick: send }, "Send")),
    out)];
}

function curl(method, path, op) {
  const parts = [`curl -X ${method.toUpperCase()} ${location.origin}${path}`];
  if ((op.security || []).length) parts.push('-H "Authorization: Bearer $ACCESS"');
  const media = op.requestBody && op.requestBody.content["application/json"];
  if (media) parts.push("-H 'Content-Type: application/json'", `-d '${JSON.stringify(media.example || {}).replaceAll("'", "'\\''")}'`);
  return [el("h3", {}, "On the command line"), el("pre", {}, el("code", {}, parts.join(" \\\n  ")))];
}

function operation(method, path, op) {
  const media = op.requestBody && op.requestBody.content["application/json"];
  const verb = method.toUpperCase();
  const inner = el("div", { class: "inner" });
  const node = el("details", { class: "op", id: op.operationId },
    el("summary", {}, el("span", { class: "method " + verb }, verb), el("span", { class: "path" }, path),
      el("span", { class: "what" }, op.summary || ""),
      (op.security || []).length ? el("span", { class: "badge" }, op.security.some((s) => !Object.keys(s).length) ? "sign-in optional" : "signed in") : null), inner);
  node.addEventListener("toggle", () => {
    if (!node.open || inner.childNodes.length) return;
    inner.append(...(op.description ? [el("p", {}, ...prose(op.description))] : []), ...parametersOf(op),
      ...(media ? [el("h3", {}, "Body"), fields(media.schema, 0) || "", example(media) || ""] : []),
      ...responsesOf(op), ...curl(method, path, op), ...tryIt(method, path, op));
  });
  return node;
}

function grouped() {
  const tags = new Map();
  for (const [path, item] of Object.entries(doc.paths || {})) {
    for (const m of methods) {
      if (!item[m]) continue;
      const tag = (item[m].tags || ["other"])[0];
      if (!tags.has(tag)) tags.set(tag, []);
      tags.get(tag).push([m, path, item[m]]);
    }
  }
  return tags;
}

function show() {
  const main = document.getElementById("main");
  const index = document.getElementById("index");
  main.replaceChildren(el("h1", {}, `${doc.info.title} API`), el("p", { class: "lead" }, ...prose(doc.info.description), el("br"), `Version ${doc.info.version} · OpenAPI ${doc.openapi}`));
  index.replaceChildren();
  for (const [tag, ops] of grouped()) {
    main.append(el("section", { class: "tag" }, el("h2", {}, tag), ...ops.map((o) => operation(...o))));
    index.append(el("section", {}, el("h2", {}, tag), el("ul", {}, ...ops.map(([m, path, op]) =>
      el("li", { "data-text": `${m} ${path} ${op.operationId} ${op.summary || ""}`.toLowerCase() },
        el("a", { href: "#" + op.operationId }, el("span", { class: "method " + m.toUpperCase() }, m.toUpperCase()), op.summary || path))))));
  }
  openHash();
}

function openHash() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target || target.tagName !== "DETAILS") return;
  target.open = true;
  target.scrollIntoView({ block: "start" });
}

function filter(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const section of document.querySelectorAll("#index section")) {
    let any = false;
    for (const li of section.querySelectorAll("li")) {
      li.hidden = !words.every((w) => li.dataset.text.includes(w));
      any = any || !li.hidden;
    }
    section.hidden = !any;
  }
}

function theme(next) {
  if (next) localStorage.setItem("nova-docs-theme", next);
  const chosen = localStorage.getItem("nova-docs-theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
}

theme();
document.getElementById("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme === "dark" || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  theme(dark ? "light" : "dark");
});
document.getElementById("search").addEventListener("input", (e) => filter(e.target.value));
window.addEventListener("hashchange", openHash);
document.addEventListener("keydown", (e) => {
  if (e.key === "/" && !["INPUT", "TEXTAREA"].includes(document.activeElement.tagName)) {
    e.preventDefault();
    document.getElementById("search").focus();
  }
});
fetch("/openapi.json").then((r) => r.json()).then((d) => { doc = d; show(); }).catch((err) => {
  document.getElementById("main").replaceChildren(el("p", {}, "The document could not be loaded: " + err));
});

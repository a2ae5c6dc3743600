/**
 * The server's own page at `/`: exports with live progress, to start, cancel, resume, delete and download; and, where there is a
 * queue, the runs on many machines and their workers.
 *
 * The browser runs {@link client} and {@link machinesClient}, served as the text of these functions: so it is checked with everything else,
 * and the server reads no file of its own.
 *
 * @module
 */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder";
import * as HttpServerResponse from "@effect/platform/HttpServerResponse";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Formats from "../../format/Formats.ts";
import * as Headers from "../Headers.ts";
import { client } from "./PageClient.ts";
import { client as machinesClient } from "./MachinesClient.ts";
import { style } from "./PageStyle.ts";
import type { Settings } from "../Settings.ts";
import * as Strict from "../handlers/Strict.ts";

const formats = Formats.builtInNames.map((name, index, { length }) =>
  `<label><input type="checkbox" name="format" value="${name}"${Formats.make(name).gzip ? " data-gzip" : ""}${
    index === length - 1 ? " checked" : ""
  }> ${name}</label>`
).join("\n        ");

/** The part about workers and runs at the queue. */
const machines = `
    <section id="machines" aria-labelledby="machines-name" hidden>
      <h2 id="machines-name">Many machines</h2>
      <p id="machines-error" class="error" hidden></p>
      <h3 id="runs-name">Runs</h3>
      <p id="no-runs">There are none now.</p>
      <ul id="runs" aria-labelledby="runs-name"></ul>
      <h3 id="workers-name">Workers</h3>
      <p id="no-workers">There are none now.</p>
      <ul id="workers" aria-labelledby="workers-name"></ul>
    </section>`;

const pageOf = (hasQueue: boolean) =>
  `<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>Exports of sessions</title>
  <link rel="icon" href="data:,">
  <link rel="stylesheet" href="/page.css">
  <script type="module" src="/page.js"></script>
</head>
<body>
  <header>
    <h1>Exports of sessions</h1>
    <nav><a href="/docs">API</a> <button id="sign-out" type="button" hidden>Sign out</button></nav>
  </header>
  <main>
    <p id="notice" role="status"></p>
    <form id="sign-in" hidden>
      <h2>Sign in</h2>
      <label for="token">Token of this server</label>
      <input id="token" type="password" autocomplete="current-password" required>
      <button>Sign in</button>
    </form>
    <form id="start" hidden>
      <h2>Start an export</h2>
      <fieldset>
        <legend>Whose sessions</legend>
        <label><input type="radio" name="whose" value="all" checked> All users</label>
        <label><input type="radio" name="whose" value="some"> Only these</label>
        <textarea id="users" name="users" rows="3" aria-label="User ids, one a line" placeholder="User ids, one a line" hidden></textarea>
      </fieldset>
      <fieldset>
        <legend>Formats</legend>
        ${formats}
        <label><input type="checkbox" name="gzip"> gzip, but for parquet</label>
      </fieldset>
      <button>Start</button>
    </form>
    <section id="list" aria-labelledby="list-name" hidden>
      <h2 id="list-name">Exports</h2>
      <p id="none" hidden>There are none yet.</p>
      <ol id="exports"></ol>
      <button id="more" type="button" hidden>Show earlier ones</button>
    </section>${hasQueue ? machines : ""}
  </main>
  <template id="export">
    <li>
      <article>
        <h3></h3>
        <p class="status"></p>
        <progress></progress>
        <p class="progress"></p>
        <p class="error" hidden></p>
        <p class="actions">
          <button type="button" class="cancel">Cancel</button>
          <button type="button" class="resume">Resume</button>
          <button type="button" class="delete">Delete</button>
        </p>
        <details><summary>Files</summary><ul></ul></details>
      </article>
    </li>
  </template>
</body>
</html>
`;

const text = (body: string, contentType: string) =>
  Effect.as(Strict.check, HttpServerResponse.text(body, { contentType, headers: Headers.forPage({}) }));

/** The page and what it is made of. */
export const layer = ({ queueUrl }: Settings) =>
  HttpApiBuilder.Router.use((router) =>
    Effect.all([
      router.get("/", text(pageOf(queueUrl !== undefined), "text/html; charset=utf-8")),
      router.get("/page.css", text(style, "text/css; charset=utf-8")),
      router.get(
        "/page.js",
        text(`(${machinesClient})();\n(${client})();\n`, "text/javascript; charset=utf-8"),
      ),
    ])
  ).pipe(Layer.provide(HttpApiBuilder.Router.Live));

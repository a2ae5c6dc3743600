/**
 * The program of the server's page in the browser.
 *
 * @module
 */
import type * as Job from "../jobs/Job.ts";

/** Runs in the browser, as the text of this function: it uses nothing from outside of it. */
export const client = (): void => {
  const LIMIT = 20;
  /** Streams at a time: a browser opens only six connections to one server. */
  const WATCHED = 4;
  const POLL = 5000;

  const find = <E extends Element = HTMLElement>(selector: string, within: ParentNode = document): E =>
    within.querySelector<E>(selector)!;
  const notice = find("#notice");
  const signIn = find<HTMLFormElement>("#sign-in");
  const start = find<HTMLFormElement>("#start");
  const list = find("#list");
  const exports = find<HTMLOListElement>("#exports");
  const more = find<HTMLButtonElement>("#more");
  const signOut = find<HTMLButtonElement>("#sign-out");
  const users = find<HTMLTextAreaElement>("#users");
  const watched = new Map<string, EventSource>();
  const shown = new Map<string, { readonly item: HTMLElement; status: Job.Status }>();

  let isUnreachable = false;

  const show = (isIn: boolean) => {
    signIn.hidden = isIn;
    signOut.hidden = !isIn || localStorage.getItem("signed-in") === null;
    start.hidden = list.hidden = !isIn;
    // Other parts of the page look again with this one.
    document.dispatchEvent(new CustomEvent("looked", { detail: isIn }));
  };

  /** Asks the server; undefined where there is nothing to go on with, which the page then says. */
  const ask = async <A>(
    method: string,
    path: string,
    body?: unknown,
    token?: string,
  ): Promise<A | undefined> => {
    const response = await fetch(path, {
      method,
      headers: {
        ...(body !== undefined && { "content-type": "application/json" }),
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    }).catch(() => undefined);
    if (response === undefined) {
      isUnreachable = true;
      notice.textContent = "The server can't be reached.";
      return undefined;
    }
    const answer = await response.json().catch(() => ({}));
    if (response.ok) {
      // What was said stays until something else is done; looking again is nothing of the kind.
      if (method !== "GET" || isUnreachable) notice.textContent = "";
      isUnreachable = false;
      return answer;
    }
    if (response.status === 401) show(false);
    notice.textContent = response.status === 401 && token === undefined
      ? ""
      : answer.detail ?? `The server answered ${response.status}.`;
    return undefined;
  };

  const number = new Intl.NumberFormat();
  const bytes = new Intl.NumberFormat(undefined, {
    style: "unit",
    unit: "megabyte",
    maximumFractionDigits: 1,
  });
  const plural = (count: number, word: string) => `${number.format(count)} ${word}${count === 1 ? "" : "s"}`;

  const fill = (summary: Job.Summary) => {
    const { id, status, created, formats, users, progress, error } = summary;
    let entry = shown.get(id);
    if (entry === undefined) {
      const item = find<HTMLTemplateElement>("#export").content.cloneNode(true) as DocumentFragment;
      entry = { item: find("li", item), status };
      shown.set(id, entry);
      entry.item.dataset["id"] = id;
      find("h3", entry.item).textContent = `${new Date(created).toLocaleString()}: ${
        users === "all" ? "all users" : plural(users, "user")
      }, ${formats.join(", ")}`;
      find("h3", entry.item).id = `name-${id}`;
      find("article", entry.item).setAttribute("aria-labelledby", `name-${id}`);
      // The latest first, wherever it comes from.
      const next = [...exports.children].find((other) => (other as HTMLElement).dataset["id"]! < id);
      exports.insertBefore(entry.item, next ?? null);
      const details = find<HTMLDetailsElement>("details", entry.item);
      details.addEventListener("toggle", () => details.open && files(id, details));
    }
    const { item } = entry;
    const isOpen = status === "queued" || status === "running";
    item.className = status;
    const words = {
      queued: "Waiting",
      running: "Running",
      done: "Done",
      failed: "Failed",
      cancelled: "Cancelled",
    };
    find(".status", item).textContent = words[status];
    const bar = find<HTMLProgressElement>("progress", item);
    bar.hidden = !isOpen;
    bar.setAttribute("aria-label", "Users done");
    if (progress?.users_total === undefined) bar.removeAttribute("value");
    else {
      bar.max = Math.max(1, progress.users_total);
      bar.value = progress.users;
    }
    find(".progress", item).textContent = progress === undefined ? "" : [
      plural(progress.sessions, "session"),
      `${number.format(progress.users)}${
        progress.users_total === undefined ? "" : ` of ${number.format(progress.users_total)}`
      } users`,
      bytes.format(progress.bytes / 1e6),
      ...(progress.quarantined > 0 ? [`${plural(progress.quarantined, "row")} quarantined`] : []),
      ...(progress.failed > 0 ? [`${plural(progress.failed, "user")} failed`] : []),
      ...(progress.missing > 0 ? [`${plural(progress.missing, "user")} unknown`] : []),
      ...(progress.unverified > 0 ? [`${plural(progress.unverified, "user")} not verified`] : []),
    ].join(", ");
    const why = find(".error", item);
    why.textContent = error?.message ?? "";
    why.hidden = error === undefined;
    find(".cancel", item).hidden = !isOpen;
    find(".resume", item).hidden = isOpen || (status === "done" && (progress?.failed ?? 0) === 0);
    find(".delete", item).hidden = isOpen;
    if (entry.status !== status) {
      entry.status = status;
      const details = find<HTMLDetailsElement>("details", item);
      if (details.open) void files(id, details);
    }
  };

  const drop = (id: string) => {
    shown.get(id)?.item.remove();
    shown.delete(id);
    find("#none").hidden = shown.size > 0;
  };

  const files = async (id: string, details: HTMLDetailsElement) => {
    const view = await ask<Job.View>("GET", `/v1/exports/${id}`);
    if (view === undefined) return;
    const names = [
      ...(view.report === undefined ? [] : ["manifest.json"]),
      ...view.parts.map(({ path }) => path),
    ];
    const rows = new Map(view.parts.map((part) => [part.path, part]));
    find("ul", details).replaceChildren(...names.map((name) => {
      const link = document.createElement("a");
      link.href = `/v1/exports/${id}/${name}`;
      link.download = "";
      link.textContent = name;
      const part = rows.get(name);
      const item = document.createElement("li");
      item.append(
        link,
        part === undefined ? "" : ` ${plural(part.rows, "row")}, ${bytes.format(part.bytes / 1e6)}`,
      );
      return item;
    }));
    if (names.length === 0) find("ul", details).textContent = "None is complete yet.";
  };

  /** Follows those that are under way, or about to be, as many at a time as connections allow. */
  const watch = () => {
    const standing = (wanted: Job.Status) => [...shown].filter(([, { status }]) => status === wanted);
    for (const [id] of [...standing("running"), ...standing("queued")]) {
      if (watched.size >= WATCHED) return;
      if (watched.has(id)) continue;
      const source = new EventSource(`/v1/exports/${id}/events`);
      const end = () => {
        source.close();
        watched.delete(id);
      };
      watched.set(id, source);
      source.addEventListener("export", ({ data }) => {
        const summary: Job.Summary = JSON.parse(data);
        fill(summary);
        if (summary.status !== "queued" && summary.status !== "running") {
          end();
          void refresh();
        }
      });
      source.addEventListener("error", end);
    }
  };

  const load = async (before?: string) => {
    const query = before === undefined ? "" : `&before=${before}`;
    const page = await ask<ReadonlyArray<Job.Summary>>("GET", `/v1/exports?limit=${LIMIT}${query}`);
    if (page === undefined) return false;
    page.forEach(fill);
    // What others have deleted is in no page any more.
    const listed = new Set(page.map(({ id }) => id));
    const oldest = page.length < LIMIT ? "" : page.at(-1)!.id;
    for (const [id, { status }] of [...shown]) {
      const isOpen = status === "queued" || status === "running";
      const isInPage = id >= oldest && (before === undefined || id < before);
      if (!isOpen && isInPage && !listed.has(id)) drop(id);
    }
    if (before !== undefined || shown.size <= LIMIT) more.hidden = page.length < LIMIT;
    find("#none").hidden = shown.size > 0;
    watch();
    return true;
  };

  const refresh = async () => {
    if (await load()) show(true);
  };

  exports.addEventListener("click", async ({ target }) => {
    const button = (target as Element).closest<HTMLButtonElement>("button");
    const id = button?.closest<HTMLElement>("li")?.dataset["id"];
    if (button === null || id === undefined) return;
    if (button.className === "delete") {
      if (!confirm("Delete this export and its files?")) return;
      const next = button.closest("li")!.nextElementSibling ?? start;
      if (await ask("DELETE", `/v1/exports/${id}?expect=ended`) === undefined) return;
      drop(id);
      return next.querySelector<HTMLElement>("button:not([hidden])")?.focus();
    }
    button.disabled = true;
    const summary = button.className === "cancel"
      ? await ask<Job.Summary>("DELETE", `/v1/exports/${id}?expect=open`)
      : await ask<Job.Summary>("POST", `/v1/exports/${id}/resume`);
    button.disabled = false;
    if (summary !== undefined) fill(summary);
    // What was pressed may be gone: whoever uses the keyboard goes on from its neighbour.
    if (button.hidden) button.parentElement?.querySelector<HTMLElement>("button:not([hidden])")?.focus();
    watch();
  });

  start.addEventListener("change", () => {
    users.hidden = new FormData(start).get("whose") === "all";
  });

  start.addEventListener("submit", async (event) => {
    event.preventDefault();
    const data = new FormData(start);
    const ids = users.value.split(/\s+/).filter((id) => id !== "");
    const formats = [...start.querySelectorAll<HTMLInputElement>("[name=format]:checked")].map((box) =>
      data.has("gzip") && "gzip" in box.dataset ? `${box.value}.gz` : box.value
    );
    const isAll = data.get("whose") === "all";
    if (formats.length === 0) return void (notice.textContent = "Choose a format.");
    if (!isAll && ids.length === 0) return void (notice.textContent = "Name a user, one a line.");
    const button = find<HTMLButtonElement>("button", start);
    button.disabled = true;
    const summary = await ask<Job.Summary>("POST", "/v1/exports", { users: isAll ? "all" : ids, formats });
    button.disabled = false;
    if (summary === undefined) return;
    fill(summary);
    find("#none").hidden = true;
    watch();
  });

  signIn.addEventListener("submit", async (event) => {
    event.preventDefault();
    const field = find<HTMLInputElement>("#token");
    const answer = await ask("POST", "/v1/session", undefined, field.value);
    if (answer === undefined) return;
    field.value = "";
    localStorage.setItem("signed-in", "");
    await refresh();
    find<HTMLButtonElement>("button", start).focus();
  });

  signOut.addEventListener("click", async () => {
    await ask("DELETE", "/v1/session");
    localStorage.removeItem("signed-in");
    location.reload();
  });

  more.addEventListener("click", () => {
    const last = exports.lastElementChild as HTMLElement | null;
    void load(last?.dataset["id"]);
  });

  setInterval(() => {
    if (document.visibilityState === "visible" && signIn.hidden) void refresh();
  }, POLL);
  void refresh();
};

/**
 * The program of the page's part about runs on many machines, in the browser.
 *
 * @module
 */
import type * as View from "../machines/View.ts";

/** Runs in the browser, as the text of this function: it uses nothing from outside of it. */
export const client = (): void => {
  const section = document.querySelector<HTMLElement>("#machines");
  // There is no queue.
  if (section === null) return;

  const find = <E extends Element = HTMLElement>(selector: string): E => section.querySelector<E>(selector)!;
  const number = new Intl.NumberFormat();
  const plural = (count: number, word: string) => `${number.format(count)} ${word}${count === 1 ? "" : "s"}`;

  const paragraph = (text: string, className: string) => {
    const made = document.createElement("p");
    made.textContent = text;
    made.className = className;
    return made;
  };

  const titled = (title: string) => {
    const item = document.createElement("li");
    const name = document.createElement("strong");
    name.textContent = title;
    item.append(name);
    return item;
  };

  const ofRun = (run: View.Machines["runs"][number]) => {
    const { job, tenant, target, began, shards, done, failed, workers, progress, alive } = run;
    const item = titled(`${tenant} to ${target}`);
    const bar = document.createElement("progress");
    bar.max = Math.max(1, shards);
    bar.value = done + failed;
    bar.setAttribute("aria-label", `Shards of ${job} done`);
    const total = progress.users_total === undefined ? "" : ` of ${number.format(progress.users_total)}`;
    item.append(
      paragraph(`Began ${new Date(began).toLocaleString()}, ${plural(workers, "worker")}`, "status"),
      bar,
      paragraph(
        [
          `${number.format(done)} of ${plural(shards, "shard")}`,
          ...(failed > 0 ? [`${plural(failed, "shard")} failed`] : []),
          plural(progress.sessions, "session"),
          `${number.format(progress.users)}${total} users`,
        ].join(", "),
        "progress",
      ),
      ...(alive ? [] : [paragraph("No news: the command that began it may have ended.", "gone")]),
    );
    return item;
  };

  const ofWorker = (
    { id, version, runtime, since, tenants, shards, alive }: View.Machines["workers"][number],
  ) => {
    const item = titled(id);
    item.append(
      paragraph(
        alive
          ? `${plural(shards.length, "shard")} now, tenants ${tenants.join(", ") || "none"}`
          : "No sign of life",
        alive ? "progress" : "gone",
      ),
      paragraph(`${version} on ${runtime}, since ${new Date(since).toLocaleString()}`, "status"),
    );
    return item;
  };

  const fill = (name: "runs" | "workers", items: ReadonlyArray<HTMLElement>) => {
    find(`#${name}`).replaceChildren(...items);
    find(`#no-${name}`).hidden = items.length > 0;
  };

  let isLooking = false;
  const look = async () => {
    if (isLooking) return;
    isLooking = true;
    const response = await fetch("/v1/machines").catch(() => undefined);
    const answer = await response?.json().catch(() => undefined);
    isLooking = false;
    const error = find("#machines-error");
    error.hidden = response?.ok === true;
    if (response?.ok === true) {
      const { workers, runs }: View.Machines = answer;
      fill("runs", runs.map(ofRun));
      fill("workers", workers.map(ofWorker));
    } else error.textContent = answer?.detail ?? "The server can't be reached.";
  };

  document.addEventListener("looked", (event) => {
    const isIn = (event as CustomEvent<boolean>).detail;
    section.hidden = !isIn;
    if (isIn) void look();
  });
};

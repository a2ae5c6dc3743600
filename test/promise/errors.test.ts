/** The guards of errors: each knows its own, whichever copy of the library has made it. */
import { describe, expect, it } from "vitest";
import * as promise from "../../src/promise.ts";
import { make as makeTarget } from "../../src/warehouse/postgres.ts";
import { reasonOf, tenant } from "./tenant.ts";

const { options } = tenant();
const all = { ...options, users: "all" } as const;

const nowhere = makeTarget({ url: "postgres://nobody@127.0.0.1:1/nothing" });

const guards: Readonly<Record<string, (error: unknown) => boolean>> = {
  ApiError: promise.isApiError,
  ExportError: promise.isExportError,
  SinkError: promise.isSinkError,
  DatasetError: promise.isDatasetError,
  TenantError: promise.isTenantError,
  TargetError: promise.isTargetError,
  CursorError: promise.isCursorError,
};

/** Names the guards that recognize a value. */
const recognize = (error: unknown) => Object.keys(guards).filter((tag) => guards[tag]!(error));

describe("the guards of errors", () => {
  it.each<[string, string, () => Promise<unknown>]>([
    ["ApiError", "Unauthorized", () => promise.sessions({ ...all, apiKey: "another-key" }).next()],
    ["ExportError", "NoSuchUsers", () => promise.sessions({ ...options, users: ["nobody"] }).next()],
    ["SinkError", "Open", () => promise.exportSessions({ ...all, out: "no/such/folder/sessions.csv" })],
    ["DatasetError", "Absent", () => promise.verify("no/such/folder")],
    [
      "TenantError",
      "InsecureTransport",
      () => promise.sessions({ ...all, domain: "http://acme.example" }).next(),
    ],
    [
      "TargetError",
      "Unreachable",
      () => promise.sync({ ...all, target: nowhere, maxElapsed: 1 }),
    ],
    [
      "CursorError",
      "Damaged",
      () => promise.changes({ ...all, cursors: { get: () => "not a cursor" } }).next(),
    ],
  ])("recognize a %s, with the reason %s", async (tag, reason, work) => {
    const error = await reasonOf(work());
    expect(error).toMatchObject({ reason });
    expect(recognize(error)).toEqual([tag]);
    expect(recognize(Object.assign(new Error("of another copy"), { _tag: tag }))).toEqual([tag]);
    expect(recognize({ _tag: tag, reason })).toEqual([]);
  });

  it.each([undefined, null, "ApiError", 1, new Error("ApiError")])("recognize nothing in %j", (value) => {
    expect(recognize(value)).toEqual([]);
  });
});
